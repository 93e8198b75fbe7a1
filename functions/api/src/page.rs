//! The web page. Its files hold no data, so they need no token.

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use rust_embed::Embed;

use crate::cache::{conditional_response, etag};
use crate::context::origin;
use crate::{ApiError, Context};

#[derive(Embed)]
#[folder = "page/"]
struct Files;

const INDEX: &str = "index.html";

/// Serves a file of the page. Any other path is not found.
pub(crate) fn serve(context: &Context, request: &Request) -> Result<Response, ApiError> {
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
    let body = Bytes::from(file.data.into_owned());
    let media_type = media_type(file.metadata.mimetype());
    let response = conditional_response(request.headers(), &etag(&[&body]), &media_type, body);
    let headers = [
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, security_policy(context)),
    ];
    Ok((headers, response).into_response())
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
