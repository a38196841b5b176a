"""Links and addresses: the only module that knows pyroute2.

pyroute2 costs 110 ms and 24 MiB to import, so it is imported inside the functions that need it, and nothing that
runs often may call them.  So far a pod has only its loopback, which podmon brings up itself; this module only looks.
"""

from __future__ import annotations


def link_names() -> list[str]:
    """The names of all links of the calling process's network namespace, sorted."""
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        return sorted(link.get_attr("IFLA_IFNAME") for link in netlink.get_links())


def has_nftables() -> bool:
    """Whether the kernel answers a request to list the tables of nftables."""
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.nftables.main import NFTables

    try:
        with NFTables() as netlink:
            netlink.get_tables()
    except NetlinkError:
        return False
    return True
