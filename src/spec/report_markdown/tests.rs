use serde_json::{Value, json};

use super::figure::{points, quantity, significant, thousands};
use super::render;
use crate::spec::report::Report;

fn measured(bytes: u64, accuracy: f64, p50: f64) -> Value {
    json!({
        "quality": {
            "samples": 5000, "accuracy": accuracy, "top_k_accuracy": 0.9952, "k": 5,
            "precision_macro": 0.9, "recall_macro": 0.9, "f1_macro": accuracy - 0.001,
            "precision_weighted": 0.9, "recall_weighted": 0.9, "f1_weighted": 0.9,
            "loss": 0.41, "agreement": null, "per_class": [], "confusion_matrix": [],
        },
        "size": {
            "bytes": bytes, "compressed_bytes": bytes * 9 / 10, "parameters": bytes / 4,
            "nonzero_parameters": bytes / 4, "macs": bytes * 40,
        },
        "latency": [{
            "engine": "onnxruntime", "batch_size": 1, "threads": 1, "runs": 1000, "p50_ms": p50, "p90_ms": p50 * 1.1,
            "p99_ms": p50 * 1.5, "mean_ms": p50, "throughput_per_second": 1000.0 / p50,
        }],
    })
}

fn report(steps: &Value) -> Report {
    serde_json::from_value(json!({
        "schema_version": 1, "kind": "pipeline",
        "job_id": "018f0000-0000-7000-8000-000000000001", "model_id": "018f0000-0000-7000-8000-000000000002",
        "model_name": "resnet20", "baseline": measured(1_090_123, 0.9236, 0.812),
        "candidate": measured(433_001, 0.9208, 0.4137), "steps": steps,
        "environment": {
            "secateur_version": "0.1.0", "onnx_runtime": "1.32.0", "cpu": "Example CPU", "cores": 2, "threads": 2,
        },
    }))
    .expect("a report")
}

fn prune(name: &str, reason: &str) -> Value {
    json!({
        "step": 0, "kind": "prune", "duration_ms": 1234, "findings": ["the batch was fixed at export"],
        "prune": {
            "method": "structured", "criterion": "l2",
            "size_before": {"bytes": 100, "compressed_bytes": 90, "parameters": 25, "nonzero_parameters": 25, "macs": null},
            "size_after": {"bytes": 50, "compressed_bytes": 45, "parameters": 12, "nonzero_parameters": 12, "macs": null},
            "removed": 0.5, "coverage_parameters": 0.981,
            "groups": [{"name": name, "members": [{"initializer": "w", "axis": 0}], "width_before": 16, "width_after": 8}],
            "frozen": [{"what": "fc.weight axis 0", "operator": "Gemm fc", "reason": reason}],
            "certificate": {
                "kind": "masked_equivalence", "passed": true, "tolerance": 1e-4, "vacuous_on_own_weights": false,
                "checks": [
                    {"engine": "onnxruntime", "output": "y", "batch_size": 1, "weights": "own", "error": 2.5e-7},
                    {"engine": "tract", "output": "y", "batch_size": 2, "weights": "own", "error": 3.1e-7},
                ],
            },
        },
    })
}

#[test]
fn a_pipeline_reads_as_one_table_and_a_section_a_step() {
    let retrain = json!({
        "step": 1, "kind": "retrain", "duration_ms": 65_000,
        "retrain": {
            "epochs": [
                {"epoch": 1, "learning_rate": 0.01, "training_loss": 0.5, "training_accuracy": 0.85,
                 "validation_loss": 0.45, "validation_accuracy": 0.88},
                {"epoch": 2, "learning_rate": 0.0005, "training_loss": 0.25, "training_accuracy": 0.93,
                 "validation_loss": 0.35, "validation_accuracy": 0.91},
            ],
            "best_epoch": 2, "steps": 280, "trained_parameters": 108_250, "not_trained": [],
            "training_samples": 18_000, "validation_samples": 2000, "code_path": "standard", "threads": 2,
            "samples_per_second": 654.3,
            "certificate": {
                "kind": "verified", "passed": true, "tolerance": 1e-4, "vacuous_on_own_weights": false,
                "checks": [
                    {"engine": "onnxruntime", "output": "y", "batch_size": 2, "weights": "own", "error": null},
                    {"engine": "tract", "output": "", "batch_size": 2, "weights": "own", "error": null, "declined": "no such operator"},
                ],
            },
        },
    });
    insta::assert_snapshot!(render(&report(&json!([prune("conv1.weight", "feeds the output `y`"), retrain]))), @r#"
    ### Secateur: pipeline of `resnet20`

    | | baseline | candidate | change |
    | --- | ---: | ---: | ---: |
    | size | 1.09 MB | 433 kB | × 0.40 |
    | size compressed | 981 kB | 390 kB | × 0.40 |
    | parameters | 273 k | 108 k | × 0.40 |
    | parameters not zero | 273 k | 108 k | × 0.40 |
    | MACs | 43.6 M | 17.3 M | × 0.40 |
    | accuracy | 92.36 % | 92.08 % | −0.28 points |
    | top-5 accuracy | 99.52 % | 99.52 % | ±0.00 points |
    | F1 macro | 92.26 % | 91.98 % | −0.28 points |
    | loss | 0.4100 | 0.4100 | ±0.0000 |
    | latency p50 (onnxruntime, batch 1, 1 thread) | 0.812 ms | 0.414 ms | × 0.51 |
    | latency p90 (onnxruntime, batch 1, 1 thread) | 0.893 ms | 0.455 ms | × 0.51 |
    | latency p99 (onnxruntime, batch 1, 1 thread) | 1.22 ms | 0.621 ms | × 0.51 |
    | throughput (onnxruntime, batch 1, 1 thread) | 1,232 /s | 2,417 /s | × 1.96 |

    #### Step 1: prune (1.2 s)

    structured, l2: 50.00 % of the prunable channels removed, 1 of 1 group cut; 98.10 % of the parameters lie in prunable groups.

    Certificate `masked_equivalence` **passed**: largest error 3.1e-7 of the output's scale, 1e-4 allowed, on onnxruntime and tract.

    <details><summary>1 group</summary>

    | group | members | width before | width after |
    | --- | ---: | ---: | ---: |
    | `conv1.weight` | 1 | 16 | 8 |

    </details>

    <details><summary>1 left alone</summary>

    | what | operator | reason |
    | --- | --- | --- |
    | `fc.weight axis 0` | `Gemm fc` | feeds the output `y` |

    </details>

    - the batch was fixed at export

    #### Step 2: retrain (65.0 s)

    108 k parameters trained on 18,000 samples (2,000 held out), 280 steps, 654 samples/s.

    | epoch | learning rate | training loss | training accuracy | validation loss | validation accuracy |
    | ---: | ---: | ---: | ---: | ---: | ---: |
    | 1 | 0.01 | 0.5000 | 85.00 % | 0.4500 | 88.00 % |
    | **2** | 5.00e-4 | 0.2500 | 93.00 % | 0.3500 | 91.00 % |

    The model of epoch 2 was kept.

    Certificate `verified` **passed**, on onnxruntime.
    - tract declined: no such operator

    <sub>Job 018f0000-0000-7000-8000-000000000001, secateur 0.1.0, ONNX Runtime 1.32.0, Example CPU (2 cores), 2 threads for the job</sub>
    "#);
}

#[test]
fn a_name_of_an_upload_stays_in_its_cell() {
    let page = render(&report(&json!([prune("a|b`<img src=x>`\n# c", "see <script>|@everyone\n# now")])));
    assert!(page.contains("| `a\\|b'<img src=x>''# c` | 1 | 16 | 8 |"), "{page}");
    assert!(!page.contains("<script>") && !page.contains("@everyone") && !page.contains("\n# now"), "{page}");
}

#[test]
fn an_analysis_reads_as_sizes_groups_and_layers() {
    let size =
        json!({"bytes": 1000, "compressed_bytes": 900, "parameters": 516, "nonzero_parameters": 516, "macs": 18144});
    let analysis = json!({
        "step": 0, "kind": "analyze", "duration_ms": 20, "findings": ["2 channels are dead"],
        "analyze": {
            "size": size, "coverage": {"parameters": 0.992, "macs": null},
            "groups": [
                {"name": "a", "members": [{"initializer": "a", "axis": 0, "operator": "Conv one"}], "width": 8, "parameters": 512,
                 "macs": 18144, "prunable": true, "contribution": 0.3, "weak_channels": 1},
                {"name": "b|", "members": [{"initializer": "b|", "axis": 0, "operator": "Conv two"}], "width": 4, "parameters": 292,
                 "macs": null, "prunable": false, "weak_channels": 0,
                 "frozen_by": {"operator": null, "tensor": "y", "reason": "it reaches the graph output `y`", "hint": "keep <it>"}},
            ],
            "layers": [
                {"name": "one", "operator": "Conv", "output_shape": ["n", 8, null], "parameters": 224, "macs": 7776, "sparsity": 0.5},
                {"name": "relu", "operator": "Relu", "output_shape": null, "parameters": 0, "macs": 0, "sparsity": null},
            ],
            "low_contribution": [{"group": "a", "contribution": 0.3, "parameters": 512}],
            "dead_channels": [{"group": "a", "without_input": [1], "without_output": []}],
            "duplicate_channels": [{"group": "a", "sets": [[2, 3], [4, 5]]}],
        },
    });
    let mut report = report(&json!([analysis]));
    report.baseline = None;
    let candidate = report.candidate.as_mut().unwrap();
    (candidate.quality, candidate.latency) = (None, vec![]);
    insta::assert_snapshot!(render(&report), @r#"
    ### Secateur: pipeline of `resnet20`

    | | model |
    | --- | ---: |
    | size | 433 kB |
    | size compressed | 390 kB |
    | parameters | 108 k |
    | parameters not zero | 108 k |
    | MACs | 17.3 M |

    #### analyze (0.0 s)

    Prunable groups hold 99.20 % of the parameters.

    <details><summary>1 prunable group</summary>

    | group | members | width | parameters | MACs | weights ÷ median | weak channels |
    | --- | ---: | ---: | ---: | ---: | ---: | ---: |
    | `a` | 1 | 8 | 512 | 18.1 k | 0.3 | 1 |

    </details>

    <details><summary>1 frozen group</summary>

    | group | width | parameters | MACs | kept by | reason |
    | --- | ---: | ---: | ---: | --- | --- |
    | `b\|` | 4 | 292 | – |  | it reaches the graph output `y` – keep &lt;it> |

    </details>

    <details><summary>Little or nothing carried</summary>

    | group | channels |
    | --- | --- |
    | `a` | small weights: 0.3 of the median |
    | `a` | nothing comes in: 1 |
    | `a` | the same: 2, 3; 4, 5 |

    </details>

    <details><summary>1 layer with parameters or MACs</summary>

    | layer | operator | output | parameters | MACs | zeros |
    | --- | --- | --- | ---: | ---: | ---: |
    | `one` | `Conv` | n × 8 × ? | 224 | 7.78 k | 50.00 % |

    </details>

    - 2 channels are dead

    <sub>Job 018f0000-0000-7000-8000-000000000001, secateur 0.1.0, ONNX Runtime 1.32.0, Example CPU (2 cores), 2 threads for the job</sub>
    "#);
}

#[test]
fn a_job_that_only_cuts_compares_the_sizes() {
    let mut report = report(&json!([prune("conv1.weight", "feeds the output `y`")]));
    (report.baseline, report.candidate) = (None, None);
    let page = render(&report);
    assert!(page.contains("| size | 100 B | 50 B | × 0.50 |"), "{page}");
    assert!(!page.contains("accuracy") && !page.contains("MACs"), "{page}");
}

#[test]
fn figures_are_rounded_to_what_a_reader_takes_in() {
    let table = [
        (quantity(999.0, "B"), "999 B"),
        (quantity(999_700.0, "B"), "1.00 MB"),
        (quantity(1_090_123.0, "B"), "1.09 MB"),
        (quantity(40_551_000.0, ""), "40.6 M"),
        (significant(0.0), "0"),
        (significant(0.01), "0.01"),
        (significant(0.000_5), "5.00e-4"),
        (significant(1234.5), "1,235"),
        (significant(0.412_37), "0.412"),
        (thousands(1_234_567), "1,234,567"),
        (points(-0.002_8), "−0.28 points"),
        (points(0.000_001), "±0.00 points"),
    ];
    for (shown, expected) in table {
        assert_eq!(shown, expected);
    }
}
