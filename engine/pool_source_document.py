"""`<source>` of a pool's document: where its storage comes from."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from lxml import etree

from volary.engine.adapter_document import check_adapter, placed, write_adapter
from volary.engine.errors import InvalidDocument, UnknownValue
from volary.engine.pool_source import (
    AUTH_TYPES,
    PoolSource,
    SourceAuth,
    SourceDevice,
    SourceHost,
    takes_protocol,
)
from volary.engine.pool_type import PoolType
from volary.engine.shown import shown
from volary.engine.uuid_text import parse_uuid
from volary.engine.volume_details import VolumeExtent
from volary.engine.xml_document import (
    at,
    attribute,
    escape,
    first_attribute,
    text,
    to_integer,
    yes_or_no,
)

_INT = 2**31
YES_OR_NO: Final = {True: "yes", False: "no"}


def read_source(element: etree._Element, type_: PoolType) -> PoolSource:
    """Return the source of a pool of this type.

    Parts that the type has not are left out. Like libvirt, this refuses them all the same when
    they are malformed. So is the adapter, which `read_adapter` reads: libvirt looks at what it
    says after the pool's name.
    """
    has = type_.source
    format_ = _format(element, type_)
    hosts = _hosts(element, kept="host" in has)
    devices = _devices(element, kept="device" in has)
    adapter = element.find("adapter")
    if adapter is not None:
        check_adapter(adapter)
    auth = _auth(element)
    version = first_attribute(element, "protocol", "ver")
    if version is not None and not takes_protocol(format_, type_):
        raise UnknownValue(
            f"{at(element)}: <protocol> has a 'ver', which sources of format {format_!r} have not"
        )
    with placed(element):
        return PoolSource(
            hosts=hosts,
            devices=devices,
            directory=first_attribute(element, "dir", "path") if "dir" in has else None,
            name=text(element, "name") if "name" in has else None,
            initiator=first_attribute(element, "initiator/iqn", "name")
            if "initiator" in has
            else None,
            format=format_,
            auth=auth,
            protocol_version=version,
            vendor=first_attribute(element, "vendor", "name"),
            product=first_attribute(element, "product", "name"),
        )


def _format(source: etree._Element, type_: PoolType) -> str | None:
    if not type_.formats:
        return None
    known = (*type_.formats, *type_.added_formats)
    format_ = first_attribute(source, "format", "type") or type_.default_format
    if format_ not in known:
        raise UnknownValue(
            f"{at(source)}: <format> of <source> has the unknown type {shown(format_)}; known: "
            + ", ".join(known)
        )
    return format_


def _hosts(source: etree._Element, *, kept: bool) -> tuple[SourceHost, ...]:
    hosts = []
    for element in source.findall("host"):
        name = attribute(element, "name")
        if name is None:
            raise InvalidDocument(f"{at(element)}: <host> has no 'name'")
        value = attribute(element, "port")
        port = 0 if value is None else to_integer(value)
        if port is None or not -_INT <= port < _INT:
            raise InvalidDocument(
                f"{at(element)}: <host> has port={shown(value)}, which is no number; give one, "
                "or leave it out for the usual port"
            )
        if kept:
            with placed(element):
                hosts.append(SourceHost(name, port))
    return tuple(hosts)


def _devices(source: etree._Element, *, kept: bool) -> tuple[SourceDevice, ...]:
    devices = []
    for element in source.findall("device"):
        path = attribute(element, "path")
        if path is None:
            raise InvalidDocument(f"{at(element)}: <device> has no 'path'")
        separator = yes_or_no(element, "part_separator")
        if kept:
            with placed(element):
                devices.append(SourceDevice(path, separator))
    return tuple(devices)


def _auth(source: etree._Element) -> SourceAuth | None:
    element = source.find("auth")
    if element is None:
        return None
    username, kind = element.get("username"), element.get("type")
    if not username:
        raise InvalidDocument(f"{at(element)}: <auth> has no 'username'")
    if kind and kind not in (*AUTH_TYPES, "none"):
        raise _unknown_auth(element, kind)
    secret = element.find("secret")
    if secret is None:
        raise InvalidDocument(f"{at(element)}: <auth> has no <secret>; a pool's password is one")
    found = _secret(secret)
    if not kind or kind == "none":
        raise _unknown_auth(element, kind or "")
    with placed(element):
        return SourceAuth(kind, username, found, attribute(secret, "type"))


def _unknown_auth(element: etree._Element, kind: str) -> UnknownValue:
    return UnknownValue(
        f"{at(element)}: <auth> has the unknown type {shown(kind)}; known: {', '.join(AUTH_TYPES)}"
    )


def _secret(element: etree._Element) -> UUID | str:
    uuid, usage = attribute(element, "uuid"), attribute(element, "usage")
    if (uuid is None) == (usage is None):
        raise InvalidDocument(
            f"{at(element)}: <secret> has "
            + ("neither 'uuid' nor 'usage'" if uuid is None else "both 'uuid' and 'usage'")
            + "; give one of them"
        )
    if uuid is None:
        return usage or ""
    found = parse_uuid(uuid)
    if found is None:
        raise InvalidDocument(
            f"{at(element)}: <secret> has uuid={shown(uuid)}, which is none; "
            "give 32 hexadecimal digits"
        )
    return found


def write_source(
    source: PoolSource, indent: str, free_extents: tuple[VolumeExtent, ...] = ()
) -> str:
    """Return the element, each line after `indent`; `free_extents` are those of the first device,
    since libvirt's disk pools have one.
    """
    inner = indent + "  "
    parts = [f"{indent}<source>\n"]
    for host in source.hosts:
        port = f" port='{host.port}'" if host.port else ""
        parts.append(f"{inner}<host name='{escape(host.name)}'{port}/>\n")
    for number, device in enumerate(source.devices):
        parts.append(_write_device(device, inner, () if number else free_extents))
    parts += _write_named(inner, (("dir", "path", source.directory),))
    if source.adapter is not None:
        parts.append(write_adapter(source.adapter, inner))
    if source.name is not None:
        parts.append(f"{inner}<name>{escape(source.name)}</name>\n")
    if source.initiator is not None:
        name = escape(source.initiator)
        parts.append(f"{inner}<initiator>\n{inner}  <iqn name='{name}'/>\n{inner}</initiator>\n")
    if source.format is not None:
        parts.append(f"{inner}<format type='{source.format}'/>\n")
    if source.auth is not None:
        parts.append(_write_auth(source.auth, inner))
    parts += _write_named(
        inner,
        (
            ("protocol", "ver", source.protocol_version),
            ("vendor", "name", source.vendor),
            ("product", "name", source.product),
        ),
    )
    return "".join(parts) + f"{indent}</source>\n"


def _write_named(indent: str, parts: tuple[tuple[str, str, str | None], ...]) -> list[str]:
    """Return those of the elements that have a value, which is their one attribute's."""
    return [
        f"{indent}<{tag} {name}='{escape(value)}'/>\n"
        for tag, name, value in parts
        if value is not None
    ]


def _write_device(
    device: SourceDevice, indent: str, free_extents: tuple[VolumeExtent, ...]
) -> str:
    begin = f"{indent}<device path='{escape(device.path)}'"
    if device.part_separator is not None:
        begin += f" part_separator='{YES_OR_NO[device.part_separator]}'"
    if not free_extents:
        return begin + "/>\n"
    extents = "".join(
        f"{indent}  <freeExtent start='{extent.start}' end='{extent.end}'/>\n"
        for extent in free_extents
    )
    return f"{begin}>\n{extents}{indent}</device>\n"


def _write_auth(auth: SourceAuth, indent: str) -> str:
    kind = f" type='{escape(auth.secret_type)}'" if auth.secret_type is not None else ""
    how = "uuid" if isinstance(auth.secret, UUID) else "usage"
    return (
        f"{indent}<auth type='{auth.type}' username='{escape(auth.username)}'>\n"
        f"{indent}  <secret{kind} {how}='{escape(str(auth.secret))}'/>\n"
        f"{indent}</auth>\n"
    )
