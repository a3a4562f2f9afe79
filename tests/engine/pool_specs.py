"""Pools of every type, as hypothesis makes them up."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from volary.engine.names import character_problem, name_problem
from volary.engine.pool_source import (
    FcHostAdapter,
    ParentAddress,
    PoolSource,
    ScsiHostAdapter,
    SourceAuth,
    SourceDevice,
    SourceHost,
)
from volary.engine.pool_spec import (
    CONFIGURED_TYPES,
    COW_TYPES,
    MOUNTED_TYPES,
    REFRESH_ALLOCATIONS,
    PoolSpec,
)
from volary.engine.pool_type import POOL_TYPES, PoolType

_CHARACTERS = st.one_of(
    st.sampled_from(" <>&'\"%/.-\u0085\u2028\ufffd"), st.characters(codec="utf-8")
)
_ANY_TEXT = st.text(_CHARACTERS, min_size=1, max_size=20)
_TEXTS = _ANY_TEXT.filter(lambda text: character_problem(text) is None)
_NAMES = _ANY_TEXT.filter(lambda name: name_problem(name, longest=251) is None)
_GROUPS = _TEXTS.filter(lambda name: not {".", ".."} & set(name.split("/")))
_CHOICES = st.sampled_from([None, True, False])
_IDS = st.none() | st.integers(0, 2**32 - 2)
_WWNS = st.from_regex(r"\A(0x)?[0-9a-fA-F]{16}\Z").filter(str.isalnum)
_SECRETS = st.one_of(st.uuids(), _TEXTS)
_AUTHS = st.builds(
    SourceAuth, st.sampled_from(["chap", "ceph"]), _TEXTS, _SECRETS, st.none() | _TEXTS
)
_ADDRESSES = st.builds(
    ParentAddress,
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.integers(0, 31),
    st.integers(0, 7),
)
_ADAPTERS = st.one_of(
    st.builds(ScsiHostAdapter, _TEXTS),
    st.builds(ScsiHostAdapter, parent_address=_ADDRESSES),
    st.builds(
        FcHostAdapter,
        _WWNS,
        _WWNS,
        st.none() | _TEXTS,
        parent_fabric_wwn=st.none() | _WWNS,
        managed=_CHOICES,
    ),
    st.builds(FcHostAdapter, _WWNS, _WWNS, parent_wwnn=_WWNS, parent_wwpn=_WWNS),
)
_HOSTS = st.lists(st.builds(SourceHost, _TEXTS, st.integers(0, 65535)), min_size=1, max_size=3)
_DEVICES = st.lists(st.builds(SourceDevice, _TEXTS, _CHOICES), min_size=1, max_size=3)


@st.composite
def pool_specs(draw: st.DrawFn) -> PoolSpec:
    """Draw a pool of any type with anything that it may have."""
    type_ = draw(st.sampled_from(list(POOL_TYPES.values())))
    options: dict[str, Any] = {"source": draw(_sources(type_))}
    if type_.has_target:
        options |= {
            "mode": draw(st.none() | st.integers(0, 0o777)),
            "owner": draw(_IDS),
            "group": draw(_IDS),
            "label": draw(st.none() | _TEXTS),
        }
        if type_.name not in ("logical", "zfs"):
            options["target"] = "/" + draw(_TEXTS)
    if type_.name in COW_TYPES:
        options["cow"] = draw(_CHOICES)
    if type_.name in MOUNTED_TYPES:
        options["mount_options"] = draw(st.lists(_TEXTS, max_size=3))
    if type_.name in CONFIGURED_TYPES:
        options["config_options"] = draw(st.lists(st.tuples(_TEXTS, _TEXTS), max_size=3))
    return PoolSpec(
        draw(_NAMES),
        type=type_.name,
        uuid=draw(st.none() | st.uuids()),
        refresh_allocation=draw(st.sampled_from([None, *REFRESH_ALLOCATIONS])),
        **options,
    )


@st.composite
def _sources(draw: st.DrawFn, type_: PoolType) -> PoolSource:
    has = type_.source
    formats = (*type_.formats, *type_.added_formats)
    format_ = draw(st.sampled_from(formats)) if formats else None
    versioned = format_ in (None, *type_.formats[:2])
    return PoolSource(
        hosts=tuple(draw(_HOSTS)) if "host" in has else (),
        devices=tuple(draw(_DEVICES)) if "device" in has else (),
        directory=draw(_TEXTS) if "dir" in has else None,
        adapter=draw(_ADAPTERS) if "adapter" in has else None,
        name=draw(_GROUPS) if "name" in has else None,
        initiator=draw(_TEXTS) if "initiator" in has else None,
        format=format_,
        auth=draw(st.none() | _AUTHS),
        protocol_version=draw(st.none() | _TEXTS) if versioned else None,
        vendor=draw(st.none() | _TEXTS),
        product=draw(st.none() | _TEXTS),
    )
