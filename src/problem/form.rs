//! Bodies of HTML forms.

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use url::form_urlencoded;

use super::{Kind, Payload, Problem};
use crate::domain::{Error, Fault};

/// The fields of a form, as they were filled in. Fields without a text are left out.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The first field of this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        fields
            .find(|(field, _)| field == name)
            .map(|(_, text)| text.as_str())
    }

    /// Every text of a field that lists texts with commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        let parts = self.text(name).unwrap_or_default().split(',');
        let parts = parts.map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let declared = request.headers().get(CONTENT_TYPE);
        let declared = declared.map_or(&b""[..], |value| value.as_bytes());
        if !declared.starts_with(b"application/x-www-form-urlencoded") {
            return Err(Problem::new(
                &Kind::UNSUPPORTED_MEDIA_TYPE,
                "`Content-Type` must be `application/x-www-form-urlencoded`",
            ));
        }
        let Payload(bytes) = Payload::from_request(request, state).await?;
        let fields = form_urlencoded::parse(&bytes);
        let fields = fields.map(|(name, text)| (name.into_owned(), text.replace("\r\n", "\n")));
        let fields: Vec<(String, String)> = fields.filter(|(_, text)| !text.is_empty()).collect();
        let faults = fields.iter().filter_map(|(name, text)| {
            let is_clean = !text.contains('\0') && !text.contains('\u{fffd}');
            (!is_clean).then(|| Fault::body(name.as_str(), "must be text in UTF-8, without NUL"))
        });
        let faults: Vec<Fault> = faults.collect();
        match faults.is_empty() {
            true => Ok(Self(fields)),
            false => Err(Error::Unprocessable(faults).into()),
        }
    }
}
