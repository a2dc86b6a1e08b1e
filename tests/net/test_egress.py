"""Which targets may be called: the spelling of hosts, the addresses that are refused, and the three gates."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.errors import InvalidOption, TargetRefused
from flow_core.net.egress import SPECIAL, Target, Targets, canonical_host, parse_target


def at(host, port=443):
    return Target("https", canonical_host(host), port)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Shop.Example", "shop.example"),
        ("shop.example.", "shop.example"),
        ("my_service", "my_service"),
        ("a-b.c", "a-b.c"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.0.0.0x1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("①②⑦.⓪.⓪.①", "127.0.0.1"),
        ("\uff11\uff12\uff17\u3002\uff10\u3002\uff10\u3002\uff11", "127.0.0.1"),  # full width
        ("0x7g", "0x7g"),
        ("169.254.43518", "169.254.169.254"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("[::FFFF:127.0.0.1]", "127.0.0.1"),
        ("::ffff:7f00:1", "127.0.0.1"),
        ("[2001:DB8::0:1]", "2001:db8::1"),
    ],
)
def test_a_host_has_one_spelling(text, host):
    assert canonical_host(text) == host
    assert canonical_host(host) == host


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "a..b", "-a", "a-", "a b", "a/b", "a@b", "a%2eb", "a\x00b", "a\nb", "a:b", "[::1", "[shop]",
        "[::1%eth0]x", "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "08", "1.2.3.4.0x", "4294967296", "1.2.65536",
        "a.1", "shop.0x7f", "x" * 64, "a." * 127 + "ab", "ü" * 64,
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused(text):
    with pytest.raises(InvalidOption):
        canonical_host(text)


@given(st.ip_addresses())
def test_every_address_is_its_own_host(address):
    mapped = getattr(address, "ipv4_mapped", None)
    assert ipaddress.ip_address(canonical_host(str(address))) == (mapped or address)


@given(st.ip_addresses(v=4))
def test_every_spelling_of_an_ipv4_address_is_found_out(address):
    number = int(address)
    a, b = number >> 24, number & 0xFFFFFF
    spellings = [str(number), hex(number), f"0{number:o}", f"{a}.{b}", f"{a:#x}.{b:#x}", f"0{a:o}.0{b:o}"]
    assert {canonical_host(text) for text in spellings} == {str(address)}


REFUSED = [
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("::1", "loopback"),
    ("0.0.0.0", "this host"),
    ("0.1.2.3", "this host"),
    ("::", "this host"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "shared"),
    ("169.254.1.1", "link-local"),
    ("fe80::1", "link-local"),
    ("febf::1", "link-local"),
    ("fec0::1", "site-local"),
    ("fc00::1", "unique local"),
    ("fdff::1", "unique local"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("ff02::1", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("192.0.0.8", "reserved for protocols"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("198.18.0.1", "benchmarks"),
    ("192.88.99.1", "6to4"),
    ("2002:7f00:1::1", "6to4"),
    ("2001:0:7f00:1::", "reserved for protocols"),  # Teredo
    ("64:ff9b:1::7f00:1", "local translation"),
    ("100::1", "discarded"),
    ("4000::1", "not global unicast"),
    ("::2:0:0:0", "not global unicast"),
    # the same hidden in IPv6
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:7f00:1", "loopback"),
    ("::ffff:10.1.2.3", "private"),
    ("::127.0.0.1", "loopback"),
    ("::ffff:0:127.0.0.1", "loopback"),
    ("64:ff9b::127.0.0.1", "loopback"),
    ("64:ff9b::a00:1", "private"),
    # where clouds keep credentials
    ("169.254.169.254", "credentials"),
    ("169.254.170.2", "credentials"),
    ("168.63.129.16", "credentials"),
    ("100.100.100.200", "credentials"),
    ("192.0.0.192", "credentials"),
    ("fd00:ec2::254", "credentials"),
    ("fd20:ce::254", "credentials"),
    ("::ffff:169.254.169.254", "credentials"),
    ("64:ff9b::169.254.169.254", "credentials"),
]


@pytest.mark.parametrize(("address", "why"), REFUSED)
def test_addresses_that_are_not_public_are_refused(address, why):
    with pytest.raises(TargetRefused, match=why):
        Targets().check_addresses(at("shop.example"), ["93.184.216.34", address])
    with pytest.raises(TargetRefused, match=why):
        Targets().check_name(at(address))


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "1.1.1.1", "9.255.255.255", "11.0.0.0", "126.1.1.1", "128.0.0.1", "172.15.0.1", "172.32.0.1",
     "192.167.1.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "64:ff9b::101:101", "::ffff:1.1.1.1"],
)  # fmt: skip
def test_public_addresses_pass(address):
    Targets().check_addresses(at("shop.example"), [address])
    Targets().check_name(at(address))


@given(st.ip_addresses(v=4))
def test_we_are_never_more_lenient_than_the_standard_library(address):
    if not address.is_global or address.is_multicast:
        with pytest.raises(TargetRefused):
            Targets().check_addresses(at("shop.example"), [str(address)])


KNOWN_TO_IPADDRESS = [
    "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4", "::/128",
    "::1/128", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip


@pytest.mark.parametrize("network", [pair[0] for pair in SPECIAL] + [*map(ipaddress.ip_network, KNOWN_TO_IPADDRESS)])
def test_every_special_network_is_refused_from_end_to_end(network):
    for address in (network[0], network[-1]):
        with pytest.raises(TargetRefused):
            Targets().check_addresses(at("shop.example"), [str(address)])


@pytest.mark.parametrize(
    ("networks", "passes", "refused"),
    [
        (["127.0.0.1"], ["127.0.0.1", "::ffff:127.0.0.1"], ["127.0.0.2", "::1"]),
        (["10.1.0.0/16"], ["10.1.255.1"], ["10.2.0.1"]),
        (["fd00::/8"], ["fd12::1"], ["fd00:ec2::254", "fc00::1"]),
        (["169.254.0.0/16"], ["169.254.1.1"], ["169.254.169.254", "::ffff:169.254.169.254"]),
        (["169.254.169.254"], ["169.254.169.254"], ["169.254.169.253"]),
        (["0.0.0.0/0"], ["127.0.0.1", "8.8.8.8"], ["169.254.169.254", "168.63.129.16", "::1"]),
    ],
)
def test_networks_are_allowed_and_credentials_only_by_their_own_address(networks, passes, refused):
    targets = Targets(networks=networks)
    targets.check_addresses(at("shop.example"), passes)
    for address in refused:
        with pytest.raises(TargetRefused):
            targets.check_addresses(at("shop.example"), [*passes, address])


def test_without_the_public_internet_only_networks_pass():
    targets = Targets(networks=["10.0.0.0/8"], public=False)
    targets.check_addresses(at("shop.example"), ["10.0.0.1"])
    with pytest.raises(TargetRefused, match="public, which is not allowed here"):
        targets.check_addresses(at("shop.example"), ["1.1.1.1"])


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        (["shop.example"], "SHOP.example.", True),
        (["shop.example"], "my.shop.example", False),
        (["*.shop.example"], "my.shop.example", True),
        (["*.shop.example"], "shop.example", False),
        (["*.shop.example"], "evilshop.example", False),
        (["*.shop.example"], "shop.example.evil", False),
        (["BÜCHER.example"], "xn--bcher-kva.example", True),
        ([], "shop.example", False),
        (None, "shop.example", True),
        (["1.1.1.1"], "0x1010101", True),
        (["1.1.1.1"], "1.1.1.2", False),
    ],
)
def test_hosts_are_a_list_of_patterns(hosts, host, allowed):
    targets = Targets(hosts=hosts)
    if allowed:
        targets.check_name(at(host))
    else:
        with pytest.raises(TargetRefused, match="its host is not on the list"):
            targets.check_name(at(host))


def test_a_host_on_the_list_must_still_have_an_allowed_address():
    targets = Targets(hosts=["shop.internal"])
    targets.check_name(at("shop.internal"))
    with pytest.raises(TargetRefused, match=r"10\.0\.0\.5 is private") as caught:
        targets.check_addresses(at("shop.internal"), ["10.0.0.5"])
    assert "Targets(networks=...)" in caught.value.fix


def test_an_address_in_networks_needs_no_host_on_the_list():
    targets = Targets(hosts=["shop.internal"], networks=["10.0.0.5"])
    targets.check_name(at("10.0.0.5"))
    with pytest.raises(TargetRefused):
        targets.check_name(at("10.0.0.6"))


@pytest.mark.parametrize(("ports", "port", "allowed"), [(None, 22, True), ([443], 443, True), ([443], 22, False)])
def test_ports_are_a_list(ports, port, allowed):
    targets = Targets(ports=ports)
    if allowed:
        targets.check_name(at("shop.example", port))
    else:
        with pytest.raises(TargetRefused, match="port 22 is not on the list"):
            targets.check_name(at("shop.example", port))


@pytest.mark.parametrize(
    "options",
    [
        {"networks": ["10.1.2.3/8"]}, {"networks": ["shop"]}, {"networks": "10.0.0.0/8"}, {"hosts": "shop"},
        {"hosts": [7]}, {"hosts": ["a b"]}, {"ports": [0]}, {"ports": ["443"]}, {"ports": [True]}, {"ports": [65536]},
    ],
)  # fmt: skip
def test_an_allow_list_that_is_none_is_refused(options):
    with pytest.raises(InvalidOption):
        Targets(**options)


def test_allow_lists_are_values():
    assert Targets(hosts=["A.b"]) == Targets(hosts=["a.b"])
    assert repr(Targets(ports=[443])) == "Targets(hosts=None, networks=(), ports=(443,), public=True)"
    assert hash(Targets()) == hash(Targets())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://shop", Target("http", "shop", 80)),
        ("HTTP://Shop:8080/a/", Target("http", "shop", 8080, "/a")),
        ("https://[::1]:1/x", Target("https", "::1", 1, "/x")),
    ],
)
def test_a_url_is_taken_apart(url, address):
    assert parse_target(url, {"http": 80, "https": 443}) == address
    assert parse_target(str(address), {"http": 80, "https": 443}) == address


@pytest.mark.parametrize("url", ["http://127.0.0.1\\@shop.example", "http://shop.example#@127.0.0.1", "http://a@b@c"])
def test_urls_that_readers_disagree_about_are_refused(url):
    with pytest.raises(InvalidOption):
        parse_target(url, {"http": 80})
