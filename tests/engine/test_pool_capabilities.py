from __future__ import annotations

from lxml import etree

from volary.engine.pool_capabilities import write_pool_capabilities
from volary.engine.pool_type import POOL_TYPES


def test_every_type_is_there_and_says_whether_it_can_be_started() -> None:
    root = etree.fromstring(write_pool_capabilities(["dir", "disk"]))
    found = {pool.get("type"): pool.get("supported") for pool in root}
    assert list(found) == list(POOL_TYPES)
    assert {name for name, supported in found.items() if supported == "yes"} == {"dir", "disk"}


def test_formats_are_listed_with_the_one_that_is_taken_if_none_is_given() -> None:
    assert """  <pool type='logical' supported='no'>
    <poolOptions>
      <defaultFormat type='lvm2'/>
      <enum name='sourceFormatType'>
        <value>unknown</value>
        <value>lvm2</value>
      </enum>
    </poolOptions>
  </pool>
""" in write_pool_capabilities([])
