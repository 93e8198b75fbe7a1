//! The web page. Its files hold no data, so they need no token.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::Embed;

use crate::cache::has_etag;
use crate::context::origin;
use crate::{ApiError, Context};

#[derive(Embed)]
#[folder = "page/"]
struct Files;

const INDEX: &str = "index.html";

/// Serves a file of the page. Any other path is not found.
pub(crate) async fn serve(
    State(context): State<Arc<Context>>,
    request: Request,
) -> Result<Response, ApiError> {
    let path = match request.uri().path() {
        "/" => Some(INDEX),
        path => path.strip_prefix("/page/"),
    };
    let file = path.and_then(Files::get).ok_or_else(|| {
        ApiError::NotFound("nothing exists at this path; /openapi.json lists all paths".to_owned())
    })?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(ApiError::Method);
    }
    let mut hex = String::with_capacity(34);
    for byte in &file.metadata.sha256_hash()[..16] {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    let value = |text: String| {
        HeaderValue::try_from(text).map_err(|error| ApiError::Internal(error.to_string()))
    };
    let etag = value(format!("\"{hex}\""))?;
    let mut response = if has_etag(request.headers(), &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Bytes::from(file.data.into_owned()).into_response();
        let media_type = value(media_type(file.metadata.mimetype()))?;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        value(security_policy(&context))?,
    );
    Ok(response)
}

fn media_type(mime: &str) -> String {
    if mime.starts_with("text/") {
        format!("{mime}; charset=utf-8")
    } else {
        mime.to_owned()
    }
}

/// Allows only resources of this origin, and connections to it, the socket and the inbox.
fn security_policy(context: &Context) -> String {
    let socket = context.settings.socket_url.as_deref().and_then(origin);
    let mut connect = "'self'".to_owned();
    for origin in socket.iter().chain(&context.settings.upload_origin) {
        connect.push(' ');
        connect.push_str(origin);
    }
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src {connect}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
