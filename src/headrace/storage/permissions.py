"""Which models the keys of a project, or of a whole organisation, may ask for."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from headrace.core.identity import Principal
from headrace.storage.database import Database

PermissionMode: TypeAlias = Literal["allow_list", "deny_list"]
ALL_PROJECTS = ""


class ModelPermission(msgspec.Struct, frozen=True, kw_only=True):
    """Only these models, or all but these, for a project of an organisation, or for all of them."""

    mode: PermissionMode
    models: tuple[str, ...]

    def narrowed(self, principal: Principal) -> Principal:
        """What the principal may ask for after it."""
        named = frozenset(self.models)
        if self.mode == "deny_list":
            return msgspec.structs.replace(principal, models_denied=principal.models_denied | named)
        return msgspec.structs.replace(principal, models=named if principal.models is None else principal.models & named)


Permissions: TypeAlias = Mapping[tuple[str, str], ModelPermission]
"""By organisation and project."""


def model_permissions(database: Database) -> Permissions:
    rows = database.execute("SELECT organization, project, mode, models FROM model_permission").fetchall()
    return {
        (organization, project): msgspec.convert({"mode": mode, "models": msgspec.json.decode(models)}, ModelPermission)
        for organization, project, mode, models in rows
    }
