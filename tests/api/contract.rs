//! `openapi.yaml` itself: whole, true to the router and to the code's own lists, and enforced.

mod content;
mod enforced;
mod fields;
mod live;

use std::collections::BTreeSet;

use serde_json::Value;
use voxray::app::{Access, ROUTES, Verb};
use voxray::domain::access::Right;
use voxray::problem::Kind;

use super::support::contract::{Node, document, faults};

struct Operation {
    verb: String,
    path: String,
    node: Node,
}

impl Operation {
    fn text(&self, name: &str) -> &'static str {
        self.node.value()[name].as_str().unwrap_or_default()
    }

    fn parameters(&self) -> impl Iterator<Item = Node> {
        let list = self.node.child("parameters");
        list.into_iter().flat_map(|list| {
            let count = list.value().as_array().map_or(0, Vec::len);
            (0..count).filter_map(move |n| list.child(&n.to_string()))
        })
    }

    fn is_public(&self) -> bool {
        self.text("x-voxray-scope") == "public"
    }
}

fn operations() -> Vec<Operation> {
    let paths = Node::at("/paths").expect("paths");
    let of_path = |(path, item): (&String, Node)| {
        item.members()
            .map(|(verb, node)| Operation {
                verb: verb.to_uppercase(),
                path: path.clone(),
                node,
            })
            .collect::<Vec<_>>()
    };
    paths.members().flat_map(of_path).collect()
}

#[test]
fn document_and_router_have_the_same_operations_and_scopes() {
    let scope = |access| match access {
        Access::Public => "public",
        Access::Reader => Right::SessionsRead.as_str(),
        Access::Transcripts => Right::TranscriptsRead.as_str(),
        Access::Ingestor => Right::IngestWrite.as_str(),
        Access::Reviewer => Right::ReviewsWrite.as_str(),
        Access::Admin => Right::Admin.as_str(),
    };
    let routed: BTreeSet<_> = ROUTES
        .iter()
        .map(|route| {
            let path = route.path.replace("{*", "{");
            (route.verb.as_str().to_owned(), path, scope(route.access))
        })
        .collect();
    let described = operations().into_iter().map(|operation| {
        let scope = operation.text("x-voxray-scope");
        (operation.verb, operation.path, scope)
    });
    assert_eq!(described.collect::<BTreeSet<_>>(), routed);
}

#[test]
fn every_operation_says_what_it_is() {
    let mut ids = BTreeSet::new();
    let tags: Vec<&Value> = document()["tags"]
        .as_array()
        .map(|tags| tags.iter().map(|tag| &tag["name"]).collect())
        .expect("tags");
    for operation in operations() {
        let place = format!("{} {}", operation.verb, operation.path);
        for name in ["operationId", "summary", "description", "x-voxray-scope"] {
            assert!(!operation.text(name).is_empty(), "{place} has no {name}");
        }
        assert!(
            ids.insert(operation.text("operationId")),
            "{place}: its id is another's"
        );
        assert!(
            tags.contains(&&operation.node.value()["tags"][0]),
            "{place}: its tag"
        );
        let needs_none = operation.node.value()["security"] == serde_json::json!([]);
        assert_eq!(needs_none, operation.is_public(), "{place}: security");
        let mut in_path = BTreeSet::new();
        for parameter in operation.parameters() {
            let value = parameter.value();
            let described = value["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty());
            assert!(described && value["schema"].is_object(), "{place}: {value}");
            let schema = parameter.child("schema").expect("a schema");
            if schema.value()["type"] == "integer" {
                // A filter has no default: without it everything is shown. Others say what it means to leave them out.
                let has_none = value["description"]
                    .as_str()
                    .is_some_and(|text| text.starts_with("Only ") || text.contains(" absent"));
                let bounds = ["minimum", "maximum", "default"];
                for bound in &bounds[..if has_none { 2 } else { 3 }] {
                    assert!(
                        schema.value()[bound].is_i64(),
                        "{place}: {value} has no {bound}"
                    );
                }
            }
            if value["in"] == "path" {
                assert_eq!(value["required"], true, "{place}: {value}");
                in_path.insert(format!(
                    "{{{}}}",
                    value["name"].as_str().unwrap_or_default()
                ));
            }
        }
        let segments = operation
            .path
            .split('/')
            .filter(|part| part.starts_with('{'));
        assert_eq!(in_path, segments.map(str::to_owned).collect(), "{place}");
    }
}

#[test]
fn every_operation_names_its_problems() {
    for operation in operations() {
        let place = format!("{} {}", operation.verb, operation.path);
        let responses = operation.node.child("responses").expect("responses");
        let mut needed = vec!["400", "500"];
        if !operation.is_public() {
            needed.extend(["401", "403"]);
        }
        if operation.path != "/healthz" {
            needed.push("503");
        }
        if operation.path.contains('{') {
            needed.push("404");
        }
        if operation.verb == Verb::Post.as_str() {
            needed.extend(["408", "413", "415", "422"]);
        }
        for (status, response) in responses.members() {
            assert!(
                response.value()["description"].is_string(),
                "{place}: {status}"
            );
            assert!(
                response
                    .child("headers")
                    .and_then(|all| all.child("x-request-id"))
                    .is_some(),
                "{place}: {status}"
            );
            if status.as_str() >= "400" {
                let problem = response
                    .child("content")
                    .and_then(|all| all.child("application/problem+json"));
                let example = &problem.expect("a problem").value()["example"];
                assert_eq!(example["status"].to_string(), *status, "{place}");
            }
            needed.retain(|needed| needed != status);
        }
        assert!(needed.is_empty(), "{place} lacks {needed:?}");
    }
}

#[test]
fn problems_are_those_of_the_code() {
    let code = |kind: &Kind| format!("urn:voxray:problem:{}", kind.code);
    let types: Vec<String> = Kind::ALL.iter().map(|kind| code(kind)).collect();
    let schema = &document()["components"]["schemas"]["Problem"];
    assert_eq!(schema["properties"]["type"]["enum"], Value::from(types));
    let responses = Node::at("/components/responses").expect("responses");
    for (name, response) in responses.members() {
        let example = &response.value()["content"]["application/problem+json"]["example"];
        if example.is_null() {
            continue;
        }
        let kind = Kind::ALL
            .iter()
            .find(|kind| example["type"] == code(kind))
            .expect("a kind of problem");
        assert_eq!(example["title"], kind.title, "{name}");
        assert_eq!(example["status"], kind.status.as_u16(), "{name}");
    }
}

/// Members of answers that are there only when they say something.
const SOMETIMES: [&str; 16] = [
    "contentWithheld",
    "contentDeletedAt",
    "content_deleted_at",
    "content_withheld",
    "costEstimated",
    "costIncomplete",
    "cost_estimated",
    "cost_incomplete",
    "errors",
    "estimated",
    "pricesVersion",
    "scores",
    "truncated",
    "turn",
    "unpriced",
    "warnings",
];

#[test]
fn answers_are_closed_and_say_what_each_member_is() {
    let mut seen = BTreeSet::new();
    for operation in operations() {
        let responses = operation.node.child("responses").expect("responses");
        for (status, response) in responses.members() {
            let media = response.child("content");
            for (_, media) in media.iter().flat_map(Node::members) {
                // The contract itself is not described by itself.
                if let Some(schema) = media.child("schema")
                    && operation.path != "/openapi.json"
                {
                    closed(&schema, &format!("{} {status}", operation.path), &mut seen);
                }
            }
        }
    }
    assert!(seen.len() > 100, "{} schemas were seen", seen.len());
}

/// An object that needs members has no others, and needs all of them but for a few.
fn closed(node: &Node, place: &str, seen: &mut BTreeSet<String>) {
    if !seen.insert(node.pointer_to("")) {
        return;
    }
    let value = node.value();
    let required: Vec<&str> = value["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !required.is_empty() {
        assert_eq!(value["additionalProperties"], false, "{place} is open");
    }
    let properties = node.child("properties");
    for (name, property) in properties.iter().flat_map(Node::members) {
        let place = format!("{place}.{name}");
        let is_needed = required.is_empty() || required.contains(&name.as_str());
        assert!(
            is_needed || SOMETIMES.contains(&name.as_str()),
            "{place} is not required"
        );
        // What only narrows another schema leaves it to that to describe.
        let written = &value["properties"][name]["description"];
        assert!(
            value["type"].is_null()
                || written.is_string()
                || property.value()["description"].is_string(),
            "{place} has no description"
        );
        closed(&property, &place, seen);
    }
    let parts = node.child("allOf");
    let parts = parts.iter().flat_map(|all| {
        let count = all.value().as_array().map_or(0, Vec::len);
        (0..count).filter_map(|n| all.child(&n.to_string()))
    });
    for part in node.child("items").into_iter().chain(parts) {
        closed(&part, place, seen);
    }
}

#[test]
fn references_lead_somewhere_and_components_are_used() {
    let mut used = BTreeSet::new();
    visit("", document(), &mut |pointer, value| {
        let mapped = value["discriminator"]["mapping"].as_object().cloned();
        let targets = mapped
            .into_iter()
            .flat_map(|map| map.into_iter().map(|(_, to)| to));
        for target in targets.chain([value["$ref"].clone()]) {
            let Some(target) = target.as_str().and_then(|target| target.strip_prefix('#')) else {
                continue;
            };
            assert!(
                document().pointer(target).is_some(),
                "{pointer} points to {target}"
            );
            used.insert(target.to_owned());
        }
    });
    for kind in ["schemas", "parameters", "headers", "responses", "examples"] {
        for name in document()["components"][kind]
            .as_object()
            .expect("components")
            .keys()
        {
            let pointer = format!("/components/{kind}/{name}");
            assert!(used.contains(&pointer), "nothing uses {pointer}");
        }
    }
}

#[test]
fn examples_are_valid() {
    let mut count = 0;
    visit("", document(), &mut |pointer, value| {
        if !value["schema"].is_object() {
            return;
        }
        let schema = format!("{pointer}/schema");
        let mut examples: Vec<Value> = value.get("example").cloned().into_iter().collect();
        let several = Node::at(&format!("{pointer}/examples"));
        let several = several.iter().flat_map(Node::members);
        examples.extend(several.map(|(_, example)| example.value()["value"].clone()));
        for example in examples {
            let faults = faults(&schema, &example);
            assert!(faults.is_empty(), "{pointer}: {faults:?} in {example}");
            count += 1;
        }
    });
    assert!(count > 30, "{count} examples were found");
}

#[test]
fn lines_of_examples_are_valid() {
    for (path, schema) in [("events", "Event"), ("calls", "Call")] {
        let body = &document()["paths"][format!("/v1/ingest/{path}")]["post"]["requestBody"];
        let example = body["content"]["application/x-ndjson"]["example"]
            .as_str()
            .expect("lines");
        for line in example.lines() {
            let item: Value = serde_json::from_str(line).expect("a line of JSON");
            let faults = faults(&format!("/components/schemas/{schema}"), &item);
            assert!(faults.is_empty(), "{faults:?} in {line}");
        }
    }
}

#[test]
fn the_version_is_the_crates() {
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document()["openapi"], "3.1.0");
}

/// Every object of the document with its pointer.
fn visit(pointer: &str, value: &Value, look: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            look(pointer, value);
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                visit(&format!("{pointer}/{name}"), member, look);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                visit(&format!("{pointer}/{n}"), item, look);
            }
        }
        _ => {}
    }
}
