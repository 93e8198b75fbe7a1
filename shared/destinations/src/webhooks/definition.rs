//! Tables `[[notify]]`: parses their TOML and checks it.

use http::HeaderName;
use http::header::CONTENT_TYPE;
use landfall_domain::{DefinitionText, InvalidDefinition, Tables, settings_of};
use landfall_requests::{RawPairs, Template, definition_url, headers, secret};
use serde::Deserialize;
use toml::Spanned;

use super::{JobEvent, Webhook};
use crate::signature::{self, Signature};

/// The maximum number of webhooks in a file.
const MAX_WEBHOOKS: usize = 16;

/// The tables that are read.
const TABLES: Tables = &[("[[notify]]", settings_of::<RawWebhook>)];

/// The file of the installation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInstallation {
    #[serde(default)]
    notify: Vec<Spanned<RawWebhook>>,
}

/// What is read of the definition of a dataset.
#[derive(Deserialize)]
struct RawDataset {
    #[serde(default)]
    notify: Vec<Spanned<RawWebhook>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhook {
    url: Spanned<String>,
    events: Option<Spanned<Vec<JobEvent>>>,
    secret: Spanned<String>,
    old_secret: Option<Spanned<String>>,
    #[serde(default)]
    headers: RawPairs,
}

impl Webhook {
    /// Parses the webhooks of the installation. `file` is the name of the file in errors.
    ///
    /// # Errors
    /// The first mistake in the file, with its line.
    pub fn of_installation(file: &str, text: &str) -> Result<Vec<Self>, InvalidDefinition> {
        let text = DefinitionText { file, text };
        let raw: RawInstallation = text.parse(TABLES)?;
        check(text, &raw.notify)
    }

    /// Parses the webhooks in the definition of a dataset, and nothing else of it.
    ///
    /// # Errors
    /// The first mistake in these tables, with its line.
    pub fn of_dataset(file: &str, text: &str) -> Result<Vec<Self>, InvalidDefinition> {
        let text = DefinitionText { file, text };
        let raw: RawDataset = text.parse(TABLES)?;
        check(text, &raw.notify)
    }

    /// Returns the names of all secrets that it needs, each once.
    pub fn secrets(&self) -> Vec<String> {
        let headers = self.headers.iter().map(|(_, value)| value);
        let templates = headers.chain(self.signature.secrets());
        let mut names: Vec<String> = templates
            .flat_map(Template::secrets)
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn check(
    text: DefinitionText<'_>,
    raw: &[Spanned<RawWebhook>],
) -> Result<Vec<Webhook>, InvalidDefinition> {
    if let Some(beyond) = raw.get(MAX_WEBHOOKS) {
        let message = format!("there are more than {MAX_WEBHOOKS}");
        return Err(text.error(&beyond.span(), "notify", message));
    }
    let mut webhooks: Vec<Webhook> = Vec::with_capacity(raw.len());
    for raw in raw {
        let webhook = check_one(text, raw.get_ref())?;
        if webhooks.iter().any(|other| other.url == webhook.url) {
            let message = "is also the URL of another [[notify]]; use one with all events";
            return Err(text.error(&raw.get_ref().url.span(), "notify.url", message));
        }
        webhooks.push(webhook);
    }
    Ok(webhooks)
}

fn check_one(text: DefinitionText<'_>, raw: &RawWebhook) -> Result<Webhook, InvalidDefinition> {
    let new = text.check("notify.secret", &raw.secret, |raw| secret(raw))?;
    let old = text.check_optional("notify.old_secret", raw.old_secret.as_ref(), |raw| {
        secret(raw)
    })?;
    let events = text.check_optional("notify.events", raw.events.as_ref(), |events| {
        let is_empty = events.is_empty();
        (!is_empty)
            .then(|| events.clone())
            .ok_or("is empty; name events, or remove it")
    })?;
    let reserved = |name: &HeaderName| {
        let is_reserved = *name == CONTENT_TYPE || signature::HEADERS.contains(name);
        is_reserved.then_some("is set for every notification")
    };
    Ok(Webhook {
        url: text.check("notify.url", &raw.url, |url| definition_url(url))?,
        events: events.unwrap_or_default(),
        headers: headers(&text, &raw.headers, reserved)?,
        signature: Signature::StandardWebhooks([Some(new), old].into_iter().flatten().collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mistake_is_reported_with_its_line() {
        let whole = "[[notify]]\nurl = \"https://a.example/\"\nsecret = \"{secret:a}\"\n";
        for (text, line, field, message) in [
            (
                "[[notify]]\nurl = \"ftp://a/\"\nsecret = \"{secret:a}\"\n",
                2,
                "notify.url",
                "http",
            ),
            (
                "[[notify]]\nurl = \"https://a/{secret:x}\"\nsecret = \"{secret:a}\"\n",
                2,
                "notify.url",
                "secret",
            ),
            (
                "[[notify]]\nurl = \"https://a/\"\nsecret = \"whsec_abc\"\n",
                3,
                "notify.secret",
                "{secret:NAME}",
            ),
            (
                &format!("{whole}events = []\n"),
                4,
                "notify.events",
                "empty",
            ),
            (
                &format!("{whole}events = [\"job.closed\"]\n"),
                4,
                "events",
                "job.",
            ),
            (&format!("{whole}retries = 5\n"), 4, "retries", "no setting"),
            (
                &format!("{whole}headers = {{ Webhook-Id = \"1\" }}\n"),
                4,
                "headers.Webhook-Id",
                "is set for every",
            ),
            (&format!("{whole}{whole}"), 5, "notify.url", "another"),
        ] {
            let error = Webhook::of_installation("notify.toml", text).unwrap_err();
            assert_eq!(
                (error.line, &*error.field),
                (line, field),
                "{text}: {error}"
            );
            assert!(error.message.contains(message), "{text}: {error}");
        }
        let many: String = (0..17)
            .map(|at| whole.replace("a.example", &format!("a{at}.example")))
            .collect();
        let error = Webhook::of_installation("notify.toml", &many).unwrap_err();
        assert_eq!(error.field, "notify");
    }

    #[test]
    fn the_page_lists_every_setting() {
        let page = include_str!("../../../../docs/notifications.md");
        for setting in settings_of::<RawWebhook>() {
            let row = format!("| `notify.{setting}` |");
            assert!(page.contains(&row), "{setting}");
        }
    }

    #[test]
    fn nothing_else_is_read_of_the_definition_of_a_dataset() {
        let text = "name = 7\n[[notify]]\nurl = \"https://a.example/\"\nsecret = \"{secret:a}\"\n\
                    old_secret = \"{secret:b}\"\n[notify.headers]\nAuthorization = \"Bearer {secret:a}\"\n";
        let webhooks = Webhook::of_dataset("orders.toml", text).unwrap();
        assert_eq!(webhooks[0].secrets(), ["a", "b"]);
        assert_eq!(
            Webhook::of_dataset("orders.toml", "name = \"a\"\n").unwrap(),
            []
        );
        assert!(Webhook::of_installation("notify.toml", text).is_err());
    }
}
