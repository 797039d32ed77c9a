//! `openapi.yaml` against what the code knows: its routes, the fields of ingest, its problems.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use voxray::app::{Access, ROUTES};
use voxray::domain::event::{Kind, NATIVE_KINDS};
use voxray::domain::fields;
use voxray::domain::fields::{Field, ID_MAX_CHARS, Rule};
use voxray::problem;

use super::contract::operations;
use super::support::contract::{document, resolve};

#[test]
fn router_and_document_have_the_same_operations_for_the_same_callers() {
    let scope = |access| match access {
        Access::Public => "none",
        Access::Reader => "sessions:read",
        Access::Transcripts => "transcripts:read",
        Access::Ingestor => "ingest:write",
        Access::Reviewer => "reviews:write",
        Access::Admin => "admin",
    };
    let routed: BTreeMap<_, _> = ROUTES
        .iter()
        .map(|route| {
            let path = route.path.replace("{*", "{");
            (
                format!("{} {path}", route.verb.as_str()),
                scope(route.access),
            )
        })
        .collect();
    let described: BTreeMap<_, _> = operations()
        .into_iter()
        .map(|operation| {
            let name = format!("{} {}", operation.verb, operation.path);
            (
                name,
                operation.node["x-voxray-scope"]
                    .as_str()
                    .unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(routed, described);
}

#[test]
fn every_problem_is_described() {
    // Nothing that exists now can stand against a request.
    let told = problem::Kind::ALL
        .iter()
        .filter(|kind| kind.code != "conflict");
    let told: BTreeSet<_> = told
        .map(|kind| format!("urn:voxray:problem:{}", kind.code))
        .collect();
    let described =
        document()["components"]["schemas"]["Problem"]["properties"]["type"]["enum"].as_array();
    let described: BTreeSet<_> = described
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    assert_eq!(told, described);
}

#[test]
fn every_field_of_ingest_is_described_with_its_type_and_bounds() {
    let named = |kind| match kind {
        Kind::Session => "Session",
        Kind::Turn => "Turn",
        Kind::Speech => "Speech",
        Kind::Network => "Network",
        Kind::ToolCall => "ToolCall",
        Kind::Interruption => "Interruption",
        Kind::Span => "Span",
        Kind::Error => "Error",
        Kind::Evaluation => "Evaluation",
        Kind::Report => "Report",
    };
    let kinds = NATIVE_KINDS.iter().map(|(_, kind)| *kind);
    for kind in kinds.clone().chain([Kind::Evaluation]) {
        let (fields, _) = fields::of(kind);
        let schema = &document()["components"]["schemas"][format!("{}Fields", named(kind))];
        same_fields(fields, schema, named(kind));
    }
    for (word, kind) in NATIVE_KINDS {
        let event = &document()["components"]["schemas"][format!("{}Event", named(kind))];
        let own = &event["allOf"][2];
        assert_eq!(own["properties"]["type"]["const"], word);
        let (_, needed) = fields::of(kind);
        let required = own["required"].as_array().into_iter().flatten();
        let required: BTreeSet<_> = required
            .filter_map(Value::as_str)
            .filter(|name| *name != "at")
            .collect();
        assert_eq!(required, needed.iter().copied().collect(), "{word}");
    }
}

fn same_fields(fields: &'static [Field], schema: &'static Value, place: &str) {
    let schema = resolve(schema);
    let described = schema["properties"]
        .as_object()
        .unwrap_or_else(|| panic!("{place}: no properties"));
    let known: BTreeSet<_> = fields.iter().map(|field| field.name).collect();
    assert_eq!(
        known,
        described.keys().map(String::as_str).collect(),
        "{place}"
    );
    for field in fields {
        let place = format!("{place}.{}", field.name);
        let property = &described[field.name];
        assert_eq!(keywords(property), expected(&field.rule), "{place}");
        match &field.rule {
            Rule::Object(fields) => same_fields(fields, property, &place),
            Rule::List(_, fields) => same_fields(fields, &resolve(property)["items"], &place),
            _ => {}
        }
    }
}

/// What a property says of its values, references followed, words for people left out.
fn keywords(property: &'static Value) -> Map<String, Value> {
    let own = property.as_object().into_iter().flatten();
    let referred = resolve(property).as_object().into_iter().flatten();
    let mut keywords: Map<String, Value> = referred
        .chain(own)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for name in ["$ref", "description", "properties"] {
        keywords.remove(name);
    }
    if keywords
        .get("items")
        .is_some_and(|items| items.get("properties").is_some())
    {
        keywords.remove("items");
    }
    for bound in ["minimum", "maximum"] {
        keywords
            .entry(bound)
            .and_modify(|value| *value = json!(value.as_f64()));
    }
    keywords.retain(|_, value| !value.is_null());
    keywords
}

fn expected(rule: &Rule) -> Map<String, Value> {
    let keywords = match rule {
        Rule::Text(max) => json!({ "type": ["string", "null"], "maxLength": max }),
        Rule::Id => {
            json!({ "type": ["string", "null"], "minLength": 1, "maxLength": ID_MAX_CHARS })
        }
        Rule::Number(min, max) => {
            json!({ "type": ["number", "null"], "minimum": min, "maximum": max })
        }
        Rule::Whole(min, max) => {
            json!({ "type": ["integer", "null"], "minimum": min, "maximum": max })
        }
        Rule::Bool => json!({ "type": ["boolean", "null"] }),
        Rule::OneOf(words) => {
            let words = words.iter().map(|word| json!(word)).chain([Value::Null]);
            json!({ "type": ["string", "null"], "enum": words.collect::<Vec<_>>() })
        }
        Rule::Time => json!({ "type": ["string", "null"], "format": "date-time" }),
        Rule::Strings(max) => json!({
            "type": ["array", "null"],
            "maxItems": max,
            "items": { "type": "string", "minLength": 1, "maxLength": ID_MAX_CHARS },
        }),
        Rule::Object(_) | Rule::AnyObject => json!({ "type": ["object", "null"] }),
        Rule::List(max, _) => json!({ "type": ["array", "null"], "maxItems": max }),
        Rule::Any => json!({}),
    };
    keywords.as_object().cloned().unwrap_or_default()
}
