"""The document that says which pools there can be (virConnectGetStoragePoolCapabilities)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from volary.engine.pool_type import POOL_TYPES, PoolType


def write_pool_capabilities(supported: Collection[str]) -> str:
    """Return the document; `supported` names the types that can be started here."""
    pools = (_pool(type_, type_.name in supported) for type_ in POOL_TYPES.values())
    return f"<storagepoolCapabilities>\n{''.join(pools)}</storagepoolCapabilities>\n"


def _pool(type_: PoolType, supported: bool) -> str:  # noqa: FBT001 - what the attribute holds
    # libvirt 9.0.0 has the formats of rbd's volumes but does not list them.
    volume_formats = () if type_.name == "rbd" else type_.volume_formats
    return (
        f"  <pool type='{type_.name}' supported='{'yes' if supported else 'no'}'>\n"
        + _options("poolOptions", type_.default_format, "sourceFormatType", type_.formats)
        + _options("volOptions", type_.default_volume_format, "targetFormatType", volume_formats)
        + "  </pool>\n"
    )


def _options(tag: str, default: str, name: str, formats: Iterable[str]) -> str:
    if not default:
        return ""
    values = "".join(f"        <value>{format_}</value>\n" for format_ in formats)
    return (
        f"    <{tag}>\n"
        f"      <defaultFormat type='{default}'/>\n"
        f"      <enum name='{name}'>\n{values}      </enum>\n"
        f"    </{tag}>\n"
    )
