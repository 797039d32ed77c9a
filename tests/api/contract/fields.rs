//! The document's lists and bounds are the code's.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use voxray::domain::analysis::gate::{Metric, Verdict};
use voxray::domain::analysis::{IssueType, Severity, Stage, Targets};
use voxray::domain::analytics::Period;
use voxray::domain::event::{Kind, NATIVE_KINDS};
use voxray::domain::fields;
use voxray::domain::fields::{Field, Rule};
use voxray::ingest::native::ITEMS_MAX;

use crate::support::contract::{Node, document, faults};

const FIELDS: [(Kind, &str); 9] = [
    (Kind::Session, "SessionFields"),
    (Kind::Turn, "TurnFields"),
    (Kind::Speech, "SpeechFields"),
    (Kind::Network, "NetworkFields"),
    (Kind::ToolCall, "ToolCallFields"),
    (Kind::Interruption, "InterruptionFields"),
    (Kind::Span, "SpanFields"),
    (Kind::Error, "ErrorFields"),
    (Kind::Evaluation, "EvaluationFields"),
];

#[test]
fn lists_are_those_of_the_code() {
    let schema = |name: &str| &document()["components"]["schemas"][name]["enum"];
    assert_eq!(*schema("Status"), json!(fields::STATUSES));
    assert_eq!(*schema("Channel"), json!(fields::CHANNELS));
    assert_eq!(*schema("Speaker"), json!(fields::SPEAKERS));
    assert_eq!(*schema("Level"), json!(fields::LEVELS));
    let service = &document()["components"]["schemas"]["ServiceError"]["properties"]["service"];
    assert_eq!(service["enum"], or_null(fields::SERVICES));
    let service = &document()["components"]["schemas"]["CallError"]["properties"]["service"];
    assert_eq!(service["enum"], or_null(fields::SERVICES));
    let types = IssueType::ALL.iter().map(|kind| kind.as_str());
    assert_eq!(*schema("IssueType"), types.collect::<Value>());
    assert_eq!(*schema("IssueStage"), json!(Stage::ALL.map(Stage::as_str)));
    assert_eq!(
        *schema("Severity"),
        json!(Severity::ALL.map(Severity::as_str))
    );
    assert_eq!(
        *schema("GateMetric"),
        json!(Metric::ALL.map(Metric::as_str))
    );
    assert_eq!(
        *schema("GateVerdict"),
        json!(Verdict::ALL.map(Verdict::as_str))
    );
    for bound in Targets::bounds() {
        let (group, name) = bound.name.split_once('.').expect("a group");
        let group = format!("{}{}Targets", group[..1].to_uppercase(), &group[1..]);
        let group = group
            .replace("Stages", "Stage")
            .replace("Thresholds", "Threshold");
        let said = &document()["components"]["schemas"][group.as_str()]["properties"][snake(name)];
        assert_eq!(said["minimum"].as_f64(), Some(bound.min), "{}", bound.name);
        assert_eq!(said["maximum"].as_f64(), Some(bound.max), "{}", bound.name);
        let default = format!("By default {}.", bound.default);
        let description = said["description"].as_str().expect("a description");
        assert!(
            description.ends_with(&default),
            "{}: {description}",
            bound.name
        );
    }
    let period = &document()["components"]["parameters"]["period"]["schema"];
    assert_eq!(period["enum"], json!(Period::ALL.map(Period::as_str)));
    assert_eq!(period["default"], Period::Day.as_str());
    let events = &document()["components"]["schemas"]["EventBatch"]["anyOf"];
    assert_eq!(events[0]["properties"]["events"]["maxItems"], ITEMS_MAX);
    assert_eq!(events[1]["maxItems"], ITEMS_MAX);
}

fn snake(name: &str) -> String {
    let letter = |c: char| match c.is_ascii_uppercase() {
        true => format!("_{}", c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    name.chars().map(letter).collect()
}

#[test]
fn every_kind_of_event_has_the_fields_and_bounds_of_the_code() {
    for (kind, schema) in FIELDS {
        let node = Node::at(&format!("/components/schemas/{schema}")).expect("a schema");
        same_fields(fields::of(kind).0, &node, schema);
    }
}

#[test]
fn every_kind_of_event_needs_what_the_code_needs() {
    let names: Vec<&str> = NATIVE_KINDS.iter().map(|(name, _)| *name).collect();
    let schemas = &document()["components"]["schemas"];
    assert_eq!(
        schemas["EventEnvelope"]["properties"]["type"]["enum"],
        json!(names)
    );
    let event = "/components/schemas/Event";
    for (name, kind) in NATIVE_KINDS {
        assert!(
            schemas["Event"]["discriminator"]["mapping"][name].is_string(),
            "{name}"
        );
        let mut whole = json!({ "type": name, "sessionId": "s", "at": "2025-06-11T10:00:00Z" });
        let (known, needed) = fields::of(kind);
        for field in known.iter().filter(|field| needed.contains(&field.name)) {
            whole[field.name] = sample(&field.rule);
        }
        assert!(faults(event, &whole).is_empty(), "{whole}");
        whole["somethingNew"] = json!({ "is": "kept" });
        assert!(faults(event, &whole).is_empty(), "{whole}");
        for missing in needed.iter().copied().chain(["type", "sessionId"]) {
            let mut less = whole.clone();
            less[missing] = Value::Null;
            assert!(!faults(event, &less).is_empty(), "{less}");
            less.as_object_mut().expect("an event").remove(missing);
            assert!(!faults(event, &less).is_empty(), "{less}");
        }
    }
}

/// A deprecated property is only another spelling of one that the code names.
fn same_fields(fields: &[Field], node: &Node, place: &str) {
    let properties = node.child("properties").expect("properties");
    let described: BTreeSet<&str> = properties
        .members()
        .map(|(name, _)| name.as_str())
        .filter(|name| node.value()["properties"][name]["deprecated"] != true)
        .collect();
    let known: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
    assert_eq!(described, known, "{place}");
    for field in fields {
        let place = format!("{place}.{}", field.name);
        let written = &node.value()["properties"][field.name];
        assert!(
            written["description"].is_string(),
            "{place} has no description"
        );
        same_rule(
            &field.rule,
            &properties.child(field.name).expect("a schema"),
            &place,
        );
    }
}

fn same_rule(rule: &Rule, node: &Node, place: &str) {
    let keywords: Map<String, Value> = node
        .value()
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !["description", "properties"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    match rule {
        Rule::Object(fields) => {
            assert_eq!(
                Value::from(keywords),
                json!({ "type": ["object", "null"] }),
                "{place}"
            );
            same_fields(fields, node, place);
        }
        Rule::List(max, fields) => {
            assert_eq!(keywords["type"], json!(["array", "null"]), "{place}");
            assert_eq!(keywords["maxItems"], *max, "{place}");
            let items = node.child("items").expect("items");
            assert_eq!(items.value()["type"], "object", "{place}");
            same_fields(fields, &items, place);
        }
        _ => assert_eq!(Value::from(keywords), schema(rule), "{place}"),
    }
}

/// How the document writes a rule that holds no others.
fn schema(rule: &Rule) -> Value {
    match rule {
        Rule::Text(max) => json!({ "type": ["string", "null"], "maxLength": max }),
        Rule::Id => {
            json!({ "type": ["string", "null"], "minLength": 1, "maxLength": fields::ID_MAX_CHARS, "pattern": r"\S" })
        }
        Rule::Number(min, max) => {
            json!({ "type": ["number", "null"], "minimum": *min as i64, "maximum": *max as i64 })
        }
        Rule::Whole(min, max) => {
            json!({ "type": ["integer", "null"], "minimum": *min as i64, "maximum": *max as i64 })
        }
        Rule::Bool => json!({ "type": ["boolean", "null"] }),
        Rule::OneOf(words) => json!({ "enum": or_null(words) }),
        Rule::Time => json!({ "type": ["string", "null"], "format": "date-time" }),
        Rule::Strings(max) => {
            let text =
                json!({ "type": "string", "minLength": 1, "maxLength": fields::ID_MAX_CHARS });
            json!({ "type": ["array", "null"], "maxItems": max, "items": text })
        }
        Rule::AnyObject => json!({ "type": ["object", "null"] }),
        Rule::Any => json!({}),
        Rule::Object(_) | Rule::List(..) => unreachable!("compared field by field"),
    }
}

/// A value that the rule allows.
pub fn sample(rule: &Rule) -> Value {
    let object = |fields: &[Field]| -> Map<String, Value> {
        let members = fields
            .iter()
            .map(|field| (field.name.to_owned(), sample(&field.rule)));
        members.collect()
    };
    match rule {
        Rule::Text(_) | Rule::Id => json!("text"),
        Rule::Number(min, _) | Rule::Whole(min, _) => json!(*min as i64),
        Rule::Bool => json!(true),
        Rule::OneOf(words) => json!(words[0]),
        Rule::Time => json!("2025-06-11T10:00:00Z"),
        Rule::Strings(_) => json!(["text"]),
        Rule::Object(fields) => Value::from(object(fields)),
        Rule::List(_, fields) => json!([object(fields)]),
        Rule::AnyObject | Rule::Any => json!({ "any": ["thing"] }),
    }
}

fn or_null(words: &[&str]) -> Value {
    words
        .iter()
        .map(|word| json!(word))
        .chain([Value::Null])
        .collect()
}
