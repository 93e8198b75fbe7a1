//! Whether a connection must be encrypted and its server verified.

use std::net::IpAddr;

/// Returns whether the server of this URL must have a valid certificate for its name. It must unless it is on this
/// machine, or the URL has an `sslmode`, which then decides.
pub(crate) fn must_verify(url: &str, host: &str, has_socket: bool) -> bool {
    let (_, query) = url.split_once('?').unwrap_or_default();
    let has_mode = query.split('&').any(|parameter| {
        let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
        matches!(name, "sslmode" | "ssl-mode")
    });
    !has_mode && !has_socket && !is_loopback(host)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::must_verify;

    #[test]
    fn other_machines_are_verified_unless_the_url_decides() {
        for (url, host, expected) in [
            ("postgres://u:p@db.example.org/d", "db.example.org", true),
            ("mysql://u:p@10.0.0.7:3306/d", "10.0.0.7", true),
            (
                "postgres://u:p@localhost.example.org/d",
                "localhost.example.org",
                true,
            ),
            ("postgres://u:p@h/d?sslrootcert=/tmp/ca.pem", "h", true),
            ("postgres://u:p@h/d?application_name=sslmode", "h", true),
            ("postgres://u:p@h/d?a=b&sslmode=require", "h", false),
            ("mysql://u:p@h/d?ssl-mode=DISABLED", "h", false),
            ("postgres://u:p@localhost/d", "localhost", false),
            ("postgres://u:p@127.0.0.1:5432/d", "127.0.0.1", false),
            ("mysql://u:p@[::1]/d", "[::1]", false),
        ] {
            assert_eq!(must_verify(url, host, false), expected, "{url}");
        }
        assert!(!must_verify("mysql://u@h/d?socket=/run/mysqld", "h", true));
    }
}
