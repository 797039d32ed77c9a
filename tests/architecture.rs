//! Holds the sources to the map in `src/lib.rs`: who may import whom, where SQL lives, that every
//! statement binds the tenant, and who may make a scope. Prints what has grown large.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files of `store` whose rows are not a tenant's, or that work for all tenants at once.
const WITHOUT_TENANT: &[&str] = &[
    "api_keys.rs",
    "tenants.rs",
    "migrate.rs",
    "health.rs",
    "embedded",
    "recordings/claims.rs",
    "recordings/early.rs",
    "recordings/leftovers.rs",
    "sessions/open.rs",
    "retention/due.rs",
    "sessions/rooms.rs",
    "prices/sweep.rs",
    "rollups/mod.rs",
    "live/sequence.rs",
    "live/listen.rs",
    "livekit_keys.rs",
    "analysis/queue.rs",
    "analysis/sweep.rs",
    "webhooks/open.rs",
    "words.rs",
    "statistics.rs",
];
/// Every way to a scope, or to a content scope, besides a checked key.
const SCOPE_CONSTRUCTORS: &[&str] = &["for_analysis", "for_operator", "for_operator", "for_worker"];

const FILE_LINES: usize = 300;
const FUNCTION_LINES: usize = 60;

struct Source {
    /// Below `src`: `store/scope.rs`.
    path: String,
    /// Without comments and unit tests, so that only what runs is judged.
    code: String,
    text: String,
}

impl Source {
    /// The top-level module that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    fn is_below(&self, folder: &str) -> bool {
        self.path.starts_with(&format!("{folder}/"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let source = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a source");
        let path = file
            .strip_prefix(&root)
            .expect("below src")
            .to_string_lossy()
            .into_owned();
        Source {
            path,
            code: code_of(&text),
            text,
        }
    };
    files.into_iter().map(source).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn code_of(text: &str) -> String {
    let before_tests = text
        .split("\n#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    before_tests
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The import table of `lib.rs`: module, and what it may import; `None` is everything.
fn import_table(lib: &str) -> Vec<(String, Option<Vec<String>>)> {
    let names = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut table = Vec::new();
    for line in lib.lines().filter(|line| line.starts_with("//! | `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let allowed = if cells[3] == "everything" {
            None
        } else {
            Some(names(cells[3]))
        };
        for module in names(cells[1]) {
            table.push((module, allowed.clone()));
        }
    }
    table
}

/// The modules of ours that some code names by `crate::…`.
fn imports(code: &str) -> Vec<String> {
    let name = |rest: &str| {
        rest.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    code.split("crate::").skip(1).map(name).collect()
}

#[test]
fn imports_follow_the_table() {
    let sources = sources();
    let lib = sources
        .iter()
        .find(|source| source.path == "lib.rs")
        .expect("lib.rs");
    let table = import_table(&lib.text);
    assert!(table.len() >= 5, "the table of lib.rs is not found");

    let declared: Vec<_> = lib
        .code
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "))
        .collect();
    for module in &declared {
        let module = module.trim_end_matches(';');
        assert!(
            table.iter().any(|(name, _)| name == module),
            "`{module}` is not in the table of lib.rs"
        );
    }

    let mut faults = Vec::new();
    for source in sources
        .iter()
        .filter(|source| !["lib.rs", "main.rs"].contains(&source.path.as_str()))
    {
        assert!(
            !source.code.contains("use crate::{"),
            "{}: write one `use crate::` a module",
            source.path
        );
        let Some((module, Some(allowed))) =
            table.iter().find(|(module, _)| module == source.module())
        else {
            continue;
        };
        for import in imports(&source.code) {
            if import != *module && !allowed.contains(&import) {
                faults.push(format!(
                    "{}: `{module}` may not import `{import}`",
                    source.path
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_store_knows_sql() {
    for source in sources().iter().filter(|source| !source.is_below("store")) {
        assert!(
            !source.code.contains("sqlx"),
            "{} mentions sqlx",
            source.path
        );
    }
}

#[test]
fn every_statement_binds_the_tenant() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.is_below("store")) {
        let name = source.path.trim_start_matches("store/");
        if WITHOUT_TENANT
            .iter()
            .any(|exception| name.starts_with(exception))
        {
            continue;
        }
        let statements = statements(source);
        for statement in &statements {
            if !binds_tenant(statement) && !is_completed(statement, &source.code) {
                let start: String = statement.split_whitespace().collect::<Vec<_>>().join(" ");
                faults.push(format!("{}: {start:.120}", source.path));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "statements without `tenant_id = $1`:\n{}",
        faults.join("\n")
    );
}

/// The texts of a file that are SQL: literals, and the files that it names.
fn statements(source: &Source) -> Vec<String> {
    let literals = literals(&source.code);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |literal: &String| {
        if !literal.ends_with(".sql") {
            return literal.clone();
        }
        fs::read_to_string(folder.join(literal))
            .unwrap_or_else(|error| panic!("{literal}: {error}"))
    };
    literals
        .iter()
        .map(text)
        .filter(|text| is_statement(text))
        .collect()
}

fn is_statement(text: &str) -> bool {
    let sql = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n");
    let first = sql
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let reads_or_writes = [" from ", "into ", "update ", " join "];
    let flat = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    ["select", "insert", "update", "delete", "with", "merge"].contains(&first.as_str())
        && reads_or_writes.iter().any(|word| flat.contains(word))
}

/// One tenant's rows, by `$1`; or rows of many, each joined with its own tenant out of the array `$1`
/// (of tenants, of rows that begin with theirs, or through the statement's `given`); or rows inserted with their tenant
/// first.
fn binds_tenant(statement: &str) -> bool {
    let flat = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    let has = |part: &str| flat.contains(part);
    let of_given = has(" from given ");
    let keyed = has("$1::uuid[]") && has("(tenant_id,");
    has("tenant_id = $1")
        || has("tenant_id = (select $1::uuid)")
        || (keyed && (has(".tenant_id = ") || flat.starts_with("with given as (")))
        || ((of_given || has("from unnest($1::session_row[]) as g"))
            && has(".tenant_id = g.tenant_id"))
        || (has("insert into ") && has("(tenant_id,") && (has("$1") || of_given))
}

/// Whether a macro of the file completes the statement with the tenant.
fn is_completed(statement: &str, code: &str) -> bool {
    let is_head =
        statement.starts_with("delete from ") && statement.split_whitespace().count() == 4;
    is_head
        && literals(code).iter().any(|tail| {
            let tail = tail.trim_start();
            tail.starts_with("using unnest($1::uuid[]") && binds_tenant(tail)
        })
}

/// The string literals of some code, plain and raw.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find('"') {
        let before = &rest[..at];
        let hashes = before.len() - before.trim_end_matches('#').len();
        let is_raw = before.trim_end_matches('#').ends_with('r');
        let is_char = before.ends_with('\'') && rest[at + 1..].starts_with('\'');
        rest = &rest[at + 1..];
        if is_char {
            continue;
        }
        let end = if is_raw {
            rest.find(&format!("\"{}", "#".repeat(hashes)))
        } else {
            unescaped_quote(rest)
        };
        let Some(end) = end else { break };
        found.push(rest[..end].to_owned());
        rest = &rest[end + 1..];
    }
    found
}

fn unescaped_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[test]
fn a_scope_is_made_by_a_checked_key_or_a_named_constructor() {
    let sources = sources();
    let scope = sources
        .iter()
        .find(|source| source.path == "store/scope.rs")
        .expect("scope.rs");
    let named = scope.code.split("pub fn for_").skip(1);
    let mut found: Vec<_> = named
        .map(|rest| format!("for_{}", rest.split('(').next().unwrap_or_default()))
        .collect();
    found.sort();
    assert_eq!(
        found, SCOPE_CONSTRUCTORS,
        "list every named constructor of a scope here"
    );

    for source in &sources {
        let makes_scope = source.code.contains("Scope::of(") && source.module() == "store";
        let may = [
            "store/api_keys.rs",
            "store/livekit_keys.rs",
            "store/scope.rs",
            "store/webhooks/open.rs",
        ]
        .contains(&source.path.as_str());
        assert!(!makes_scope || may, "{} makes a scope", source.path);
        let makes_content = source.code.contains("_sealed: ()") && source.path != "store/scope.rs";
        assert!(!makes_content, "{} makes a content scope", source.path);
    }
}

#[test]
fn routes_are_registered_in_one_place() {
    for source in sources()
        .iter()
        .filter(|source| source.path != "app/layers.rs")
    {
        for call in [".route(", ".route_service(", ".nest("] {
            assert!(
                !source.code.contains(call),
                "{} calls `{call}…)`: add a line to `app::ROUTES`",
                source.path
            );
        }
    }
}

/// What libraries read at build time from folders that no source names.
const READ_BY_MACROS: &[&str] = &[".sqlx", "migrations", "templates"];

#[test]
fn the_image_is_built_from_everything_the_program_is_made_of() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lines = |name: &str| {
        let text = fs::read_to_string(root.join(name)).expect("a file of the image");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let copied: Vec<String> = lines("Dockerfile")
        .iter()
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(|names| {
            names
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let let_in: Vec<String> = lines(".dockerignore")
        .iter()
        .filter_map(|line| line.strip_prefix('!').map(str::to_owned))
        .collect();

    let mut needed: Vec<String> = READ_BY_MACROS.iter().map(ToString::to_string).collect();
    for source in sources() {
        needed.extend(included(&source));
    }
    needed.sort();
    needed.dedup();
    assert!(needed.contains(&"openapi.yaml".to_owned()), "{needed:?}");
    for name in needed {
        assert!(copied.contains(&name), "the Dockerfile copies no `{name}`");
        assert!(
            let_in.contains(&name),
            ".dockerignore keeps `{name}` out of the build"
        );
    }
}

/// The files and folders beside `src` that a source includes.
fn included(source: &Source) -> Vec<String> {
    let including = source.code.lines().filter(|line| line.contains("include_"));
    let outside = |path: String| {
        let depth = source.path.matches('/').count() + 1;
        let below = path.strip_prefix(&"../".repeat(depth))?;
        below.split('/').next().map(str::to_owned)
    };
    including.flat_map(literals).filter_map(outside).collect()
}

#[test]
fn time_is_an_argument() {
    for source in sources()
        .iter()
        .filter(|source| source.path != "app/clock.rs")
    {
        for call in ["Utc::now()", "Local::now()", "SystemTime::now()"] {
            assert!(
                !source.code.contains(call),
                "{} asks the system's clock",
                source.path
            );
        }
    }
}

/// Never fails: a longer file that reads better stays. `cargo test -- --nocapture sizes` shows it.
#[test]
fn sizes_are_shown() {
    for source in sources() {
        let lines = source.code.lines().count();
        if lines > FILE_LINES {
            println!("{}: {lines} lines", source.path);
        }
        for (name, length) in functions(&source.code)
            .into_iter()
            .filter(|(_, length)| *length > FUNCTION_LINES)
        {
            println!("{}: `{name}` has {length} lines", source.path);
        }
    }
}

/// Functions with their lengths, by the indentation that formatting gives them.
fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some((before, after)) = line.split_once("fn ") else {
            continue;
        };
        let is_item = before.split_whitespace().all(|word| {
            word.starts_with("pub")
                || ["async", "const", "in", "crate::store)", "unsafe"].contains(&word)
        });
        if is_item {
            let name = after
                .split(['(', '<'])
                .next()
                .unwrap_or_default()
                .to_owned();
            let close = format!("{}}}", " ".repeat(indent));
            let length = lines[at..]
                .iter()
                .position(|line| *line == close)
                .unwrap_or_default();
            found.push((name, length + 1));
        }
    }
    found
}

#[test]
fn the_test_itself_sees_what_it_should() {
    assert_eq!(
        imports("use crate::store::Scope;\nlet x = crate::domain::f();"),
        ["store", "domain"]
    );
    let code = r###"f("select a\n from t where tenant_id = $1", '"', r#"x "y" z"#, "")"###;
    assert_eq!(
        literals(code),
        ["select a\\n from t where tenant_id = $1", "x \"y\" z", ""]
    );
    assert!(is_statement("select id\n  from sessions") && !is_statement("select one of these"));
    assert!(binds_tenant("select 1 from t where tenant_id = $1"));
    assert!(!binds_tenant("select 1 from t where tenant_id = $2"));
    let keys = "unnest($1::uuid[], $2::uuid[]) as k (tenant_id, id)";
    assert!(binds_tenant(&format!(
        "select 1 from {keys} join t on t.tenant_id = k.tenant_id"
    )));
    assert!(!binds_tenant(&format!(
        "select 1 from {keys} join t on t.id = k.id"
    )));
    assert!(binds_tenant(
        "insert into t (tenant_id, id) select * from unnest($1::uuid[], $2::uuid[])"
    ));
    assert_eq!(
        functions("fn a() {\n}\n    pub async fn b<T>(\n    ) {\n    }\n"),
        [("a".to_owned(), 2), ("b".to_owned(), 3)]
    );
}
