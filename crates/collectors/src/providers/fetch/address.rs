//! Where requests may go: https to public addresses, and http to this machine where the configuration says so.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// Returns the address below which a provider is asked.
///
/// A stand-in is `http` on this machine's loopback, given as an address and not as a name; everything else is `https`
/// without user, password, `?` and `#`, and never a private address.
///
/// # Errors
/// A sentence that says what is wrong, without the address itself.
pub fn parse_base(text: &str, is_stand_in: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the address cannot be read: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("the address must hold neither a user nor a password, and end before `?` and `#`".to_owned());
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) => None,
        None => return Err("the address must name a host".to_owned()),
    };
    if is_stand_in {
        let is_here = literal.is_some_and(|address| address.is_loopback());
        return match url.scheme() == "http" && is_here {
            true => Ok(url),
            false => Err("a stand-in is http on 127.0.0.1 or [::1]".to_owned()),
        };
    }
    if url.scheme() != "https" {
        return Err("the address must begin with https://".to_owned());
    }
    if literal.is_some_and(|address| !is_public(address)) {
        return Err("the address is private; a provider is asked at a public one".to_owned());
    }
    Ok(url)
}

/// Returns whether an address is one of the public internet. What is not known to be is not.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_unspecified()
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation();
    // "This" network, shared address space, protocol assignments, benchmarks, reserved.
    let is_reserved = a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !is_special && !is_reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let parts = address.segments();
    // Global unicast is 2000::/3; what lies in it and leads back to IPv4 or to documents is left out.
    let is_global = (0x2000..0x4000).contains(&parts[0]);
    let is_translated = parts[0] == 0x2002 || (parts[0] == 0x2001 && parts[1] < 0x0200);
    let is_documentation = (parts[0] == 0x2001 && parts[1] == 0x0db8) || (parts[0] == 0x3fff && parts[1] < 0x1000);
    is_global && !is_translated && !is_documentation
}

/// Refused by the resolver: the name leads to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to a private address; it is not asked")]
pub(super) struct PrivateAddress;

/// Resolves names, and connects to none of which any address is not public.
#[derive(Debug)]
pub(super) struct PublicNames;

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(resolve_public(name))
    }
}

async fn resolve_public(name: Name) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    // The port is put in by whoever connects.
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
    if found.iter().any(|address| !is_public(address.ip())) {
        return Err(PrivateAddress.into());
    }
    Ok(Box::new(found.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_only_public_addresses_are_asked() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(private.parse().expect("an address")), "{private}");
        }
        for public in ["1.1.1.1", "76.76.21.21", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }

    #[test]
    fn an_address_is_https_or_a_stand_in_on_this_machine() {
        let is_taken = |text: &str, is_stand_in: bool| parse_base(text, is_stand_in).is_ok();
        for good in ["https://api.vercel.com", "https://eu.api.ovh.com/1.0", "https://1.1.1.1/x"] {
            assert!(is_taken(good, false) && !is_taken(good, true), "{good}");
        }
        for stand_in in ["http://127.0.0.1:8080", "http://[::1]:8080/base"] {
            assert!(is_taken(stand_in, true) && !is_taken(stand_in, false), "{stand_in}");
        }
        for bad in [
            "",
            "api.vercel.com",
            "http://api.vercel.com",
            "ftp://api.vercel.com",
            "file:///etc/passwd",
            "https://me:hunter2@api.vercel.com",
            "https://api.vercel.com/?a=b",
            "https://api.vercel.com/#a",
            "https://169.254.169.254/latest",
            "https://127.0.0.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://[::ffff:10.0.0.1]/",
            "https://[::1]/",
            "http://localhost:8080",
            "http://10.0.0.1:8080",
            "http://127.0.0.1.example:8080",
        ] {
            assert!(!is_taken(bad, false) && !is_taken(bad, true), "{bad}");
            let refused = parse_base(bad, false).expect_err(bad);
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[tokio::test]
    async fn s6_a_name_that_leads_to_this_machine_is_not_connected_to() {
        let found = PublicNames.resolve("localhost".parse().expect("a name")).await;
        assert!(found.is_err_and(|error| error.is::<PrivateAddress>()));
    }
}
