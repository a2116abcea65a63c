//! `openapi.yaml`: what is committed, served and true.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use secateur::http::openapi_yaml;
use secateur::http::problem::ProblemCode;

use crate::support::app::App;

fn committed() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml")).expect("the committed contract")
}

#[test]
fn the_committed_contract_is_the_one_of_the_handlers() {
    let made = openapi_yaml().unwrap();
    assert!(made == committed(), "openapi.yaml has drifted from the handlers; `make openapi` writes it anew");
}

#[tokio::test]
async fn the_contract_is_served() {
    let app = App::start().await;
    let response = app.get("/openapi.yaml").send().await.unwrap();
    assert_eq!(
        (response.status(), response.headers()["content-type"].to_str().unwrap()),
        (StatusCode::OK, "application/yaml")
    );
    assert!(response.text().await.unwrap() == openapi_yaml().unwrap());
}

#[test]
fn every_operation_has_an_id_of_a_verb_and_a_resource() {
    let contract = committed();
    assert!(contract.contains("openapi: 3.1.0"));
    let ids: Vec<&str> = contract.lines().filter_map(|line| line.trim().strip_prefix("operationId: ")).collect();
    let operations = contract
        .lines()
        .filter(|line| matches!(*line, "    get:" | "    post:" | "    put:" | "    delete:" | "    patch:"))
        .count();
    assert_eq!(ids.len(), operations);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id stands twice");
    for id in ids {
        let verb = id.split('_').next().unwrap_or_default();
        assert!(["create", "list", "get", "delete", "cancel"].contains(&verb) && id.contains('_'), "{id}");
    }
}

#[test]
fn every_code_is_in_the_contract() {
    let contract = committed();
    for code in ProblemCode::ALL {
        assert!(contract.contains(&format!("- {}\n", code.as_str())), "{}", code.as_str());
    }
}
