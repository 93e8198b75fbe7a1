//! Which hosts and addresses requests may go to.
//!
//! A definition is data, and so are redirects and the addresses of a name. None of them may lead a request into the
//! network of the function, or to the credentials that the metadata service of a machine hands out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The maximum number of redirects of one request.
pub const MAX_REDIRECTS: u32 = 5;

/// Which hosts and addresses requests may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    hosts: Vec<Pattern>,
    private_addresses: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// Every host.
    Any,
    /// This host, on any port or on this one.
    Host(String, Option<u16>),
    /// The hosts below this domain.
    Below(String),
}

/// Why a request is not sent. No retry helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The URL has another scheme.
    #[error("{0}: only http and https URLs are fetched")]
    Scheme(String),
    /// The URL contains credentials, which would end up in logs.
    #[error("the URL contains a user name or password; use [auth]")]
    Credentials,
    /// The host is not in the list.
    #[error("the host {0} is not in the list of allowed hosts (parameter SourceHosts)")]
    Host(String),
    /// The address is not one of the public Internet.
    #[error("{host} has the address {address}, which is not public")]
    Address {
        /// The name or address in the URL.
        host: String,
        /// The refused address.
        address: IpAddr,
    },
    /// A redirect leads from https to http.
    #[error("a redirect leads from https to http")]
    Downgrade,
    /// There were too many redirects.
    #[error("more than {MAX_REDIRECTS} redirects")]
    Redirects,
}

/// A list of hosts that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host, such as api.example.com, *.example.com, example.com:8443 or *")]
pub struct BadPattern(String);

impl Policy {
    /// Parses a list of hosts, separated by commas: `api.example.com`, `*.example.com`, `example.com:8443`, or `*` for
    /// every host. Private and loopback addresses are refused unless `private_addresses` allows them. Link-local ones,
    /// which metadata services have, are always refused.
    pub fn new(hosts: &str, private_addresses: bool) -> Result<Self, BadPattern> {
        let hosts = hosts.split(',').map(str::trim);
        let hosts = hosts.filter(|host| !host.is_empty()).map(Pattern::parse);
        Ok(Self {
            hosts: hosts.collect::<Result<_, _>>()?,
            private_addresses,
        })
    }

    /// Checks a URL before its host is resolved.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default();
        if !self.hosts.iter().any(|pattern| pattern.matches(host, port)) {
            return Err(Refused::Host(host.to_owned()));
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(host, address.into()),
            Some(Host::Ipv6(address)) => self.check_address(host, address.into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }

    /// Checks an address of a host. All of its addresses must pass, and the request must go to one that did: a name
    /// can resolve to another address the next time.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let is_allowed = match reach(address) {
            Reach::Public => true,
            Reach::Private => self.private_addresses,
            Reach::Never => false,
        };
        let host = host.to_owned();
        is_allowed
            .then_some(())
            .ok_or(Refused::Address { host, address })
    }

    /// Checks the target of a redirect, which is the `number`th of its request, from 1.
    pub fn check_redirect(&self, from: &Url, to: &Url, number: u32) -> Result<(), Refused> {
        if number > MAX_REDIRECTS {
            return Err(Refused::Redirects);
        }
        if from.scheme() == "https" && to.scheme() == "http" {
            return Err(Refused::Downgrade);
        }
        self.check_url(to)
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        if text == "*" {
            return Ok(Self::Any);
        }
        // The URL parser writes hosts in one way: lower case, Punycode, addresses.
        let host_of = |text: &str| {
            let url = Url::parse(&format!("http://{text}/")).ok()?;
            let is_host = url.path() == "/"
                && url.query().is_none()
                && url.username().is_empty()
                && url.fragment().is_none();
            is_host.then(|| Some((url.host_str()?.to_owned(), url.port())))?
        };
        if let Some(domain) = text.strip_prefix("*.") {
            return match host_of(domain).ok_or_else(bad)? {
                (domain, None) => Ok(Self::Below(format!(".{domain}"))),
                _ => Err(bad()),
            };
        }
        let (host, port) = host_of(text).ok_or_else(bad)?;
        // The URL parser drops the usual port.
        let port = port.or_else(|| text.ends_with(":80").then_some(80));
        Ok(Self::Host(host, port))
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        match self {
            Self::Any => true,
            Self::Host(allowed, allowed_port) => {
                allowed == host && (allowed_port.is_none() || *allowed_port == port)
            }
            Self::Below(domain) => host.len() > domain.len() && host.ends_with(domain.as_str()),
        }
    }
}

enum Reach {
    Public,
    Private,
    Never,
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        // "This" network, link-local with the metadata services, multicast and reserved.
        [0 | 224..=255, ..] | [169, 254, ..] => Reach::Never,
        // Protocol assignments, documentation and benchmarks.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18..=19, ..] => {
            Reach::Never
        }
        // The last are shared by the customers of a provider.
        [127 | 10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => {
            Reach::Private
        }
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // An IPv4 address: mapped, translated by NAT64, of 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        // The metadata service of AWS, in the private range; Teredo and documentation, in the public one.
        [0xfd00, 0xec2, ..] | [0x2001, 0 | 0xdb8, ..] => Reach::Never,
        [0, 0, 0, 0, 0, 0, 0, 1] | [0xfc00..=0xfdff, ..] => Reach::Private,
        // Nothing else is assigned.
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn hosts_are_those_of_the_list() {
        let policy = Policy::new("api.example.com, *.Shop.example,10.0.0.1:8080", true).unwrap();
        for (text, is_allowed) in [
            ("https://api.example.com/x", true),
            ("https://API.example.com:8443/x", true),
            ("http://eu.shop.example/", true),
            ("http://shop.example/", false),
            ("http://evilshop.example/", false),
            ("https://example.com/", false),
            ("https://api.example.com.evil.example/", false),
            ("http://10.0.0.1:8080/", true),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(policy.check_url(&url(text)).is_ok(), is_allowed, "{text}");
        }
        assert!(
            Policy::new("", true)
                .unwrap()
                .check_url(&url("http://a.example"))
                .is_err()
        );
        assert!(
            Policy::new("a b", true).is_err() && Policy::new("http://a.example/", true).is_err()
        );
    }

    #[test]
    fn only_public_addresses_are_reached() {
        let policy = Policy::new("*", false).unwrap();
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fd00:ec2::254]",
            "[fc00::1]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[2001:0:1::]",
            "[100::1]",
        ] {
            let checked = policy.check_url(&url(&format!("http://{host}/")));
            assert!(
                matches!(checked, Err(Refused::Address { .. })),
                "{host}: {checked:?}"
            );
        }
        for host in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "[2606:4700::1111]",
            "[::ffff:1.1.1.1]",
        ] {
            assert_eq!(
                policy.check_url(&url(&format!("http://{host}/"))),
                Ok(()),
                "{host}"
            );
        }
    }

    #[test]
    fn metadata_services_are_refused_even_if_private_addresses_are_allowed() {
        let policy = Policy::new("*", true).unwrap();
        for host in [
            "127.0.0.1",
            "10.1.2.3",
            "[::1]",
            "[fc00::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(
                policy.check_url(&url(&format!("http://{host}/"))),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "169.254.169.254",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[fe80::1]",
        ] {
            assert!(
                policy.check_url(&url(&format!("http://{host}/"))).is_err(),
                "{host}"
            );
        }
    }

    #[test]
    fn redirects_are_checked_and_counted() {
        let policy = Policy::new("*", false).unwrap();
        let from = url("https://a.example/");
        let to = |text: &str, number| policy.check_redirect(&from, &url(text), number);
        assert_eq!(to("https://b.example/", MAX_REDIRECTS), Ok(()));
        assert_eq!(
            to("https://b.example/", MAX_REDIRECTS + 1),
            Err(Refused::Redirects)
        );
        assert_eq!(to("http://a.example/", 1), Err(Refused::Downgrade));
        assert!(matches!(
            to("https://[::1]/", 1),
            Err(Refused::Address { .. })
        ));
        assert_eq!(
            to("file:///etc/passwd", 1),
            Err(Refused::Scheme("file".into()))
        );
        assert_eq!(to("https://a:b@c.example/", 1), Err(Refused::Credentials));
    }
}
