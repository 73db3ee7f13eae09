use std::collections::BTreeSet;

use serde_json::Value;

use super::super::routes;
use super::*;

fn document() -> Value {
    serde_json::to_value(of(&routes())).unwrap()
}

#[test]
fn it_describes_every_route_and_nothing_else() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, operations)| {
            let methods = operations.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let files = ["GET /docs", "GET /docs/init.js"];
    let files =
        files.into_iter().chain(["GET /docs/swagger-ui-bundle.js", "GET /docs/swagger-ui.css"]);

    let in_table: BTreeSet<_> = routes().iter().map(Route::name).collect();
    let expected: BTreeSet<_> = described.iter().cloned().chain(files.map(str::to_owned)).collect();

    assert_eq!(in_table, expected);
}

#[test]
fn it_is_openapi_3_1_and_each_operation_has_a_name_of_its_own() {
    let document = document();
    let operations: Vec<_> = operations(&document).collect();
    let ids: BTreeSet<_> =
        operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();

    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(ids.len(), operations.len());
}

#[test]
fn whatever_it_refers_to_is_there() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);

    assert!(found.len() > 50, "found {}", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_answer_names_its_request() {
    let document = document();
    for operation in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = match response["$ref"].as_str() {
                Some(reference) => document.pointer(&reference[1..]).unwrap(),
                None => response,
            };
            let header = &response["headers"]["X-Request-Id"];
            assert!(header.is_object(), "{} {status}", operation["operationId"]);
        }
    }
}

#[test]
fn its_texts_are_for_those_who_do_not_read_the_source() {
    let document = document().to_string();

    assert!(!document.contains("[`"), "a link of rustdoc");
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    let paths = document["paths"].as_object().unwrap().values();
    paths.flat_map(|operations| operations.as_object().unwrap().values())
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
