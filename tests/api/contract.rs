//! `openapi.yaml` itself: sound, complete, closed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::support::contract::{document, faults, resolve};

/// Fields of answers that are there only when they say something.
const SOMETIMES: [&str; 5] = [
    "contentWithheld",
    "content_withheld",
    "errors",
    "turn",
    "warnings",
];

pub struct Operation {
    pub verb: String,
    pub path: &'static str,
    pub node: &'static Value,
}

pub fn operations() -> Vec<Operation> {
    let paths = document()["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&'static String, &'static Value)| {
        let verbs = item.as_object().expect("operations");
        verbs.iter().map(move |(verb, node)| Operation {
            verb: verb.to_uppercase(),
            path,
            node,
        })
    };
    paths.iter().flat_map(of_path).collect()
}

/// Visits every value of the document with its place.
fn walk(node: &'static Value, place: &str, visit: &mut impl FnMut(&str, &'static Value)) {
    visit(place, node);
    match node {
        Value::Object(members) => {
            for (name, member) in members {
                walk(member, &format!("{place}/{name}"), visit);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{place}/{index}"), visit);
            }
        }
        _ => {}
    }
}

fn is_text(node: &Value) -> bool {
    node.as_str().is_some_and(|text| !text.trim().is_empty())
}

#[test]
fn every_operation_says_what_it_is_and_who_may_call_it() {
    assert_eq!(document()["openapi"], "3.1.0");
    assert!(is_text(&document()["info"]["title"]) && is_text(&document()["info"]["version"]));
    let tags = document()["tags"].as_array().expect("tags");
    let mut ids = BTreeSet::new();
    for Operation { verb, path, node } in operations() {
        let name = format!("{verb} {path}");
        let id = node["operationId"].as_str().expect(&name);
        assert!(ids.insert(id), "{name}: another operation is `{id}` too");
        for field in ["summary", "description", "x-voxray-scope"] {
            assert!(is_text(&node[field]), "{name}: no {field}");
        }
        for tag in node["tags"].as_array().expect(&name) {
            assert!(
                tags.iter().any(|known| known["name"] == *tag),
                "{name}: {tag}"
            );
        }
        let is_public = node["x-voxray-scope"] == "none";
        assert_eq!(
            node.get("security") == Some(&json!([])),
            is_public,
            "{name}"
        );
        for (status, needs) in [
            ("400", true),
            ("401", !is_public),
            ("403", !is_public),
            ("500", true),
        ] {
            assert_eq!(
                node["responses"].get(status).is_some(),
                needs,
                "{name}: {status}"
            );
        }
    }
    let schemes = document()["components"]["securitySchemes"]
        .as_object()
        .expect("schemes");
    let ways = document()["security"].as_array().expect("security");
    assert_eq!(ways.len(), 4);
    assert!(
        ways.iter()
            .flat_map(|way| way.as_object().expect("a way").keys())
            .all(|way| schemes.contains_key(way))
    );
}

#[test]
fn every_parameter_has_a_type_and_a_description_and_every_template_its_parameters() {
    for Operation { verb, path, node } in operations() {
        let given = node["parameters"].as_array().into_iter().flatten();
        let parameters: Vec<_> = given.map(resolve).collect();
        let mut names = BTreeSet::new();
        for parameter in &parameters {
            let name = format!("{verb} {path} {}", parameter["name"]);
            assert!(names.insert(parameter["name"].as_str()), "{name}: twice");
            assert!(is_text(&parameter["description"]), "{name}: no description");
            let schema = resolve(&parameter["schema"]);
            assert_eq!(
                schema["type"].as_array().is_none(),
                is_text(&schema["type"]),
                "{name}"
            );
            let is_in_path = parameter["in"] == "path";
            assert_eq!(parameter["required"] == true, is_in_path, "{name}");
            if schema["type"] == "integer" {
                for bound in ["minimum", "maximum", "default"] {
                    assert!(schema[bound].is_i64(), "{name}: no {bound}");
                }
            }
        }
        for part in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let part = part.trim_end_matches('}');
            assert!(
                parameters
                    .iter()
                    .any(|p| p["in"] == "path" && p["name"] == part),
                "{verb} {path}: `{part}` is not described"
            );
        }
    }
}

#[test]
fn every_answer_has_an_id_and_every_error_is_a_problem() {
    for Operation { verb, path, node } in operations() {
        for (status, response) in node["responses"].as_object().expect("responses") {
            let name = format!("{verb} {path} {status}");
            let response = resolve(response);
            assert!(is_text(&response["description"]), "{name}: no description");
            for header in ["x-request-id", "Vary"] {
                assert!(
                    resolve(&response["headers"][header])["required"] == true,
                    "{name}: {header}"
                );
            }
            let content = response["content"].as_object();
            let types: Vec<_> = content
                .into_iter()
                .flat_map(|content| content.keys())
                .collect();
            if status.as_str() >= "400" {
                assert_eq!(types, ["application/problem+json"], "{name}");
            } else {
                assert_eq!(types.is_empty(), status == "304", "{name}");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_no_component_is_left_over() {
    let mut used = BTreeSet::new();
    walk(document(), "", &mut |_, node| {
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            resolve(node);
            used.insert(reference.to_owned());
        }
        let mapped = node["discriminator"]["mapping"].as_object();
        for target in mapped
            .into_iter()
            .flatten()
            .filter_map(|(_, target)| target.as_str())
        {
            assert!(
                used.contains(target) || document().pointer(&target[1..]).is_some(),
                "{target}"
            );
        }
    });
    for kind in ["schemas", "headers", "parameters", "responses", "examples"] {
        for name in document()["components"][kind]
            .as_object()
            .expect(kind)
            .keys()
        {
            let reference = format!("#/components/{kind}/{name}");
            // A wrong method has no operation that could refer to it.
            let is_used = used.contains(&reference) || name == "MethodNotAllowed";
            assert!(is_used, "nothing refers to `{reference}`");
        }
    }
}

#[test]
fn every_example_is_what_its_schema_says() {
    let mut checked = 0;
    let mut check = |schema: &'static Value, value: &Value, place: &str| {
        assert_eq!(faults(schema, value), [""; 0], "{place}");
        checked += 1;
    };
    walk(document(), "", &mut |place, node| {
        let Some(schema) = node.get("schema") else {
            return;
        };
        if let Some(example) = node.get("example") {
            check(schema, example, place);
        }
        for (name, example) in node["examples"].as_object().into_iter().flatten() {
            check(
                schema,
                &resolve(example)["value"],
                &format!("{place}/{name}"),
            );
        }
    });
    assert!(checked > 30, "only {checked} examples");
}

#[test]
fn every_field_of_an_answer_is_described_and_every_answer_is_closed() {
    let mut seen = BTreeMap::new();
    for operation in operations() {
        for response in operation.node["responses"]
            .as_object()
            .expect("responses")
            .values()
        {
            for media in resolve(response)["content"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(_, media)| media)
            {
                if let Some(schema) = media
                    .get("schema")
                    .filter(|_| operation.path != "/openapi.json")
                {
                    closed(schema, operation.path, &mut seen);
                }
            }
        }
    }
    assert!(seen.len() > 30, "only {} objects", seen.len());
}

/// Objects that require fields hold no others; all that are not of the few are required.
fn closed(node: &'static Value, place: &str, seen: &mut BTreeMap<usize, ()>) {
    if let Some(target) = node.get("$ref").map(|_| resolve(node)) {
        return closed(target, place, seen);
    }
    if seen.insert(std::ptr::from_ref(node).addr(), ()).is_some() {
        return;
    }
    let required: BTreeSet<_> = node["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        let narrows = node.get("type").is_none();
        let is_described =
            is_text(&property["description"]) || is_text(&resolve(property)["description"]);
        assert!(narrows || is_described, "{place}: no description");
        let is_open = required.is_empty();
        assert!(
            is_open || required.contains(name.as_str()) || SOMETIMES.contains(&name.as_str()),
            "{place}: not required"
        );
        closed(property, &place, seen);
    }
    if !required.is_empty() && node.get("type").is_some() {
        assert_eq!(node["additionalProperties"], false, "{place}: is open");
    }
    if let Some(items) = node.get("items") {
        closed(items, &format!("{place}[]"), seen);
    }
    for part in node["allOf"].as_array().into_iter().flatten() {
        closed(part, place, seen);
    }
}
