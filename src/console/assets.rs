//! `GET /console/assets/{file}`: style, scripts and images, built into the binary. A file's name has a hash of what
//! is in it, so that a browser may keep it for ever.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::domain::Error;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;

const HASH_BYTES: usize = 6;
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

struct Asset {
    name: &'static str,
    /// With the hash in it.
    path: String,
    media_type: &'static str,
    body: &'static str,
}

macro_rules! assets {
    ($($name:literal: $media_type:ident,)*) => {
        vec![$(Asset::new($name, $media_type, include_str!(concat!("../../assets/console/", $name)))),*]
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    assets! {
        "console.css": CSS,
        "console.js": JS,
        "dashboard.js": JS,
        "live.js": JS,
        "mark.svg": SVG,
        "player.js": JS,
        "review.js": JS,
        "write.js": JS,
    }
});

impl Asset {
    fn new(name: &'static str, media_type: &'static str, body: &'static str) -> Self {
        let hash = Sha256::digest(body.as_bytes());
        let hash = hex::encode(&hash[..HASH_BYTES]);
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        Self {
            name,
            path: format!("/console/assets/{stem}.{hash}.{ending}"),
            media_type,
            body,
        }
    }
}

/// Where a file is, for the pages that ask for it.
pub fn path(name: &str) -> &'static str {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    asset.map_or("", |asset| asset.path.as_str())
}

pub async fn handle(Path(file): Path<String>, query: Query) -> Result<Response, Problem> {
    query.params().finish()?;
    let asset = ASSETS
        .iter()
        .find(|asset| asset.path.rsplit('/').next() == Some(file.as_str()))
        .ok_or(Error::NotFound("file of the console"))?;
    let headers = [
        (CONTENT_TYPE, asset.media_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, asset.body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_asks_for_files_that_are_there() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/console");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for rest in text.split("assets::path(\"").skip(1) {
                let name = rest.split('"').next().unwrap();
                assert_ne!(path(name), "", "{name}");
                count += 1;
            }
        }
        assert!(count > 3, "{count}");
    }
}
