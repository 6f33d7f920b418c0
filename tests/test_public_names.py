"""What `import segment_concept as sc` offers."""

import segment_concept as sc
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.triggers.base import Never


def test_every_public_name_is_there():
    for name in sc.__all__:
        assert getattr(sc, name) is not None
    assert set(sc.__all__) <= set(dir(sc))


def test_policies_and_triggers_are_namespaces():
    assert sc.policies.RecentMemory is RecentMemory
    assert sc.triggers.Never is Never
    for namespace in (sc.policies, sc.triggers):
        assert all(hasattr(namespace, name) for name in namespace.__all__)


def test_a_recipe_is_found_by_its_name():
    assert isinstance(sc.find_recipe("sec_compact"), sc.Recipe)
