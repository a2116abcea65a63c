use super::*;
use crate::spec::failure::{Failure, FailureCode};

#[test]
fn a_code_reads_the_same_in_json_and_in_code() {
    for code in ProblemCode::ALL {
        assert_eq!(serde_json::to_value(code).expect("plain data"), code.as_str());
    }
}

#[test]
fn a_defect_tells_the_client_nothing_of_its_cause() {
    let body = serde_json::to_string(&Problem::internal("password=hunter2").body(Some("r1"))).expect("plain data");
    assert!(!body.contains("hunter2") && body.contains("r1"), "{body}");
}

#[test]
fn a_failure_keeps_its_code_and_place() {
    let failure = Failure::new(FailureCode::InvalidModel, "input `w` of node `conv1` is made by nothing").at("conv1");
    let body = Problem::from(failure).body(None);
    assert_eq!((body.status, body.code, body.place.as_deref()), (422, ProblemCode::InvalidModel, Some("conv1")));
}
