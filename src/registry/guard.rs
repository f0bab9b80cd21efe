//! Which addresses a registry that the configuration does not name may have.
//!
//! The author of a Pod chooses the registry's host, so a look-up must not become a way to reach what only surepull can
//! reach. Private networks are allowed: in-cluster registries live there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::Cidr;

/// Metadata and credential services of clouds: all that have them at this address, ECS, EKS; Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same over IPv6: Google. AWS has all of [`is_aws`].
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);

const METADATA: &str = "a cloud metadata address";

/// The networks that are allowed, whatever the kind of their addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowed(Arc<[IpNet]>);

impl Allowed {
    pub(super) fn new<'c>(networks: impl IntoIterator<Item = &'c Cidr>) -> Self {
        Self(networks.into_iter().map(|cidr| *cidr.net()).collect())
    }

    /// What is wrong with the address, if it must not be asked. A network allows metadata addresses only if it is one.
    pub(super) fn objection(&self, address: IpAddr) -> Option<&'static str> {
        let kind = objection(address)?;
        let real = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => embedded_v4(v6).map_or(address, IpAddr::V4),
        };
        let allows = |network: &IpNet| {
            (network.contains(&address) || network.contains(&real))
                && (kind != METADATA || network.prefix_len() == network.max_prefix_len())
        };
        (!self.0.iter().any(allows)).then_some(kind)
    }
}

/// What is wrong with the address of an endpoint that the configuration names. One that is named by its address is meant;
/// a name may come to mean a metadata address by the doing of somebody else.
pub(super) fn objection_to_named(host: &str, address: IpAddr) -> Option<&'static str> {
    let is_name = host.parse::<IpAddr>().is_err();
    objection(address).filter(|kind| is_name && *kind == METADATA)
}

/// What kind of address this is, if one that must not be asked.
fn objection(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => objection_v4(address),
        IpAddr::V6(address) => objection_v6(address),
    }
}

fn objection_v4(address: Ipv4Addr) -> Option<&'static str> {
    if METADATA_V4.contains(&address) {
        Some(METADATA)
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if address.octets()[0] == 0 {
        Some("an unspecified address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.octets()[0] >= 240 {
        Some("a reserved or broadcast address")
    } else {
        None
    }
}

fn objection_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address == METADATA_V6 || is_aws(address) {
        Some(METADATA)
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_unspecified() {
        Some("an unspecified address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.is_unicast_link_local() {
        Some("a link-local address")
    } else {
        let embedded = embedded_v4(address).and_then(objection_v4);
        // Of a prefix for local use it is not known where the IPv4 address stands (RFC 6052, 2.2).
        let is_local = matches!(address.segments(), [0x64, 0xff9b, 1, ..]);
        embedded.or(is_local.then_some("an address that is translated locally"))
    }
}

/// `fd00:ec2::/32`: instance metadata, time, and the credentials of EKS.
fn is_aws(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xfd00, 0xec2, ..])
}

/// The IPv4 address that an IPv6 address stands for.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // IPv4-compatible (RFC 4291, 2.5.5.1), IPv4-mapped (2.5.5.2), IPv4-translated (RFC 2765),
        // NAT64 (RFC 6052) and local-use NAT64 (RFC 8215).
        [0, 0, 0, 0, 0, 0 | 0xffff, g, h]
        | [0, 0, 0, 0, 0xffff, 0, g, h]
        | [0x64, 0xff9b, 0, 0, 0, 0, g, h]
        | [0x64, 0xff9b, 1, _, _, _, g, h] => Some(low(g, h)),
        // 6to4 (RFC 3056) and Teredo (RFC 4380), whose client address is inverted.
        [0x2002, b, c, ..] => Some(low(b, c)),
        [0x2001, 0, .., g, h] => Some(low(!g, !h)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_only_surepull_can_reach_are_refused() {
        for refused in [
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "240.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::127.0.0.1",
            "64:ff9b:1:2:3:4:169.254.1.1",
            "64:ff9b:1:a9fe:a9:fe00:101:101",
            "fd00:ec2::23",
            "169.254.170.23",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:80ff:fffe",
        ] {
            let address: IpAddr = refused.parse().unwrap();
            assert!(objection(address).is_some(), "{refused}");
        }
    }

    #[test]
    fn public_and_private_addresses_are_allowed() {
        for allowed in [
            "1.1.1.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "fd00::1",
            "fd12:3456::7",
            "::ffff:10.0.0.1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:0101:0101::",
            "2001:db8::1",
            "2001:0:1:2:3:4:f5ff:fffe",
        ] {
            let address: IpAddr = allowed.parse().unwrap();
            assert_eq!(objection(address), None, "{allowed}");
        }
    }

    #[test]
    fn networks_allow_what_would_be_refused_but_metadata_only_by_itself() {
        let allowed = |networks: &[&str]| {
            let networks = networks.iter();
            let networks: Vec<Cidr> = networks
                .map(|text| Cidr::try_from((*text).to_owned()).unwrap())
                .collect();
            Allowed::new(&networks)
        };
        for (networks, address, expected) in [
            (&["127.0.0.0/8"][..], "127.0.0.1", true),
            (&["127.0.0.0/8"], "::ffff:127.0.0.1", true),
            (&["127.0.0.0/8"], "64:ff9b::127.0.0.1", true),
            (&["127.0.0.0/8"], "::1", false),
            (&["127.0.0.1"], "127.0.0.2", false),
            (&["10.0.0.0/8", "::1"], "::1", true),
            (&["169.254.0.0/16"], "169.254.1.1", true),
            (&["169.254.0.0/16", "0.0.0.0/0"], "169.254.169.254", false),
            (&["169.254.169.254"], "169.254.169.254", true),
            (&["169.254.169.254/32"], "::ffff:169.254.169.254", true),
            (&["169.254.169.254"], "100.100.100.200", false),
            (&["::/0"], "fd00:ec2::254", false),
            (&["::/0"], "fd00:ec2::23", false),
            (&["169.254.0.0/16"], "169.254.170.2", false),
            (&["64:ff9b:1::/48"], "64:ff9b:1::1.1.1.1", true),
            (&["64:ff9b:1::/48"], "64:ff9b:1::169.254.169.254", false),
            (&["fd00:ec2::254"], "fd00:ec2::254", true),
            (&["::/0"], "::ffff:169.254.169.254", false),
            (&[], "10.0.0.1", true),
        ] {
            let objection = allowed(networks).objection(address.parse().unwrap());
            assert_eq!(objection.is_none(), expected, "{networks:?} {address}");
        }
    }

    #[test]
    fn a_named_endpoint_may_be_anywhere_but_for_a_name_that_means_metadata() {
        for (host, address, expected) in [
            ("registry.test", "127.0.0.1", true),
            ("registry.test", "169.254.169.254", false),
            ("registry.test", "::ffff:100.100.100.200", false),
            ("169.254.169.254", "169.254.169.254", true),
            ("fd00:ec2::254", "fd00:ec2::254", true),
        ] {
            let objection = objection_to_named(host, address.parse().unwrap());
            assert_eq!(objection.is_none(), expected, "{host} {address}");
        }
    }
}
