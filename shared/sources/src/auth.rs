//! How a source proves who it is.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use landfall_requests::{RevealError, Revealed, Secrets, Signing, Template, header, insert_secret};

/// A token is renewed this long before it expires.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);
/// How long a token is used if the server does not say when it expires.
const USUAL_LIFE: SignedDuration = SignedDuration::from_mins(5);

/// How a source proves who it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Auth {
    /// `Authorization: Bearer …`.
    Bearer(Template),
    /// `Authorization: Basic …`, with user name and password.
    Basic(Template, Template),
    /// A header of the API's own.
    Header(HeaderName, Template),
    /// `OAuth2` client credentials, exchanged for a bearer token.
    ClientCredentials(ClientCredentials),
    /// A signature of each request.
    Hmac(Signing),
}

/// Client credentials of `OAuth2` (RFC 6749, section 4.4).
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCredentials {
    /// Where tokens are issued.
    pub token_url: Url,
    /// The client.
    pub client_id: Template,
    /// Its secret.
    pub client_secret: Template,
    /// The scopes, separated by spaces.
    pub scope: Option<String>,
    /// For whom the token is.
    pub audience: Option<String>,
    /// Whether the credentials are in the body instead of a header.
    pub in_body: bool,
}

/// A token that was exchanged for client credentials.
#[derive(Clone)]
pub struct Token {
    value: String,
    expires: Timestamp,
}

/// An answer to a request for a token that contains none.
#[derive(Debug, thiserror::Error)]
#[error("the answer to the request for a token has no access_token of type Bearer")]
pub struct NoToken;

impl Auth {
    /// Adds to a request what proves who sends it. `token` is needed for client credentials.
    pub fn apply(
        &self,
        request: &mut Revealed,
        token: Option<&Token>,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<(), RevealError> {
        match self {
            Self::Bearer(token) => {
                let token = token.reveal(secrets)?;
                insert_secret(
                    &mut request.headers,
                    AUTHORIZATION,
                    &format!("Bearer {token}"),
                )
            }
            Self::Basic(user, password) => {
                let (user, password) = (user.reveal(secrets)?, password.reveal(secrets)?);
                insert_secret(
                    &mut request.headers,
                    AUTHORIZATION,
                    &basic(&user, &password),
                )
            }
            Self::Header(name, value) => {
                request.headers.insert(name, header(name, value, secrets)?);
                Ok(())
            }
            Self::ClientCredentials(_) => match token {
                Some(token) => insert_secret(
                    &mut request.headers,
                    AUTHORIZATION,
                    &format!("Bearer {}", token.value),
                ),
                None => Ok(()),
            },
            Self::Hmac(signing) => signing.apply(request, secrets, now),
        }
    }
}

impl ClientCredentials {
    /// Returns the request for a token.
    pub fn request(&self, secrets: &Secrets) -> Result<Revealed, RevealError> {
        let (id, secret) = (
            self.client_id.reveal(secrets)?,
            self.client_secret.reveal(secrets)?,
        );
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form_type);
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, value) in [("scope", &self.scope), ("audience", &self.audience)] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        if self.in_body {
            form.append_pair("client_id", &id)
                .append_pair("client_secret", &secret);
        } else {
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            insert_secret(
                &mut headers,
                AUTHORIZATION,
                &basic(&encoded(&id), &encoded(&secret)),
            )?;
        }
        Ok(Revealed {
            method: Method::POST,
            url: self.token_url.clone(),
            headers,
            body: Some(form.finish().into_bytes()),
        })
    }
}

impl Token {
    /// Parses the answer to a request for a token that was received at `now`.
    pub fn parse(body: &[u8], now: Timestamp) -> Result<Self, NoToken> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            token_type: Option<String>,
            expires_in: Option<f64>,
        }
        let answer: Answer = serde_json::from_slice(body).map_err(|_| NoToken)?;
        let is_bearer = |kind: String| kind.eq_ignore_ascii_case("bearer");
        if answer.access_token.is_empty() || !answer.token_type.is_none_or(is_bearer) {
            return Err(NoToken);
        }
        let life = answer.expires_in.map(|seconds| seconds.clamp(0.0, 1e9));
        let life = life.map_or(USUAL_LIFE, SignedDuration::from_secs_f64);
        Ok(Self {
            value: answer.access_token,
            expires: now.saturating_add(life).unwrap_or(now),
        })
    }

    /// Returns whether the token can be used for a request at `now`.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.expires.duration_since(now) > MARGIN
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Token")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

impl Auth {
    /// Returns the names of the secrets that are needed.
    pub fn secrets(&self) -> Vec<&str> {
        let templates = match self {
            Self::Bearer(one) | Self::Header(_, one) => vec![one],
            Self::Basic(user, password) => vec![user, password],
            Self::ClientCredentials(client) => vec![&client.client_id, &client.client_secret],
            Self::Hmac(signing) => vec![&signing.secret],
        };
        templates.into_iter().flat_map(Template::secrets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn secrets() -> Secrets {
        Secrets::from_iter([("id", "client 1"), ("key", "Jefe"), ("base64", "SmVmZQ==")])
    }

    pub(super) fn secret(name: &str) -> Template {
        Template::parse(&format!("{{secret:{name}}}")).unwrap()
    }

    pub(super) fn request() -> Revealed {
        Revealed {
            method: Method::POST,
            url: Url::parse("https://api.example.com/v1/orders?page=2").unwrap(),
            headers: HeaderMap::new(),
            body: Some(b"{timestamp}".to_vec()),
        }
    }

    pub(super) fn headers(auth: &Auth, token: Option<&Token>) -> HeaderMap {
        let mut request = request();
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        auth.apply(&mut request, token, &secrets(), now).unwrap();
        assert!(request.headers.values().all(HeaderValue::is_sensitive));
        request.headers
    }

    #[test]
    fn each_kind_sets_its_header() {
        let bearer = headers(&Auth::Bearer(secret("key")), None);
        assert_eq!(bearer[AUTHORIZATION], "Bearer Jefe");
        let basic = headers(&Auth::Basic(Template::literal("u"), secret("key")), None);
        assert_eq!(basic[AUTHORIZATION], "Basic dTpKZWZl");
        let own = Auth::Header(HeaderName::from_static("x-api-key"), secret("key"));
        assert_eq!(headers(&own, None)["x-api-key"], "Jefe");
    }

    fn client(in_body: bool) -> ClientCredentials {
        ClientCredentials {
            token_url: Url::parse("https://login.example.com/token").unwrap(),
            client_id: secret("id"),
            client_secret: secret("key"),
            scope: Some("read write".into()),
            audience: None,
            in_body,
        }
    }

    #[test]
    fn client_credentials_are_exchanged_for_a_token() {
        let request = client(false).request(&secrets()).unwrap();
        assert_eq!(
            request.body.unwrap(),
            b"grant_type=client_credentials&scope=read+write"
        );
        // client+1:Jefe
        assert_eq!(request.headers[AUTHORIZATION], "Basic Y2xpZW50KzE6SmVmZQ==");
        let request = client(true).request(&secrets()).unwrap();
        let body = String::from_utf8(request.body.unwrap()).unwrap();
        assert!(
            body.ends_with("&client_id=client+1&client_secret=Jefe"),
            "{body}"
        );
        assert!(!request.headers.contains_key(AUTHORIZATION));

        let now = Timestamp::UNIX_EPOCH;
        let answer = br#"{"access_token":"t","token_type":"bearer","expires_in":60}"#;
        let token = Token::parse(answer, now).unwrap();
        assert!(token.is_fresh(now) && !token.is_fresh(now + SignedDuration::from_secs(31)));
        assert!(!format!("{token:?}").contains("\"t\""));
        let auth = Auth::ClientCredentials(client(false));
        assert_eq!(headers(&auth, Some(&token))[AUTHORIZATION], "Bearer t");
        for answer in [
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"t","token_type":"mac"}"#,
        ] {
            assert!(Token::parse(answer.as_bytes(), now).is_err(), "{answer}");
        }
    }
}
