"""What each administrative route needs: one row a method and path. A route that has no row here does not exist."""

from collections.abc import Mapping

from headrace.core.roles import Right

PROJECT = "/v1/organization/projects/{project}"
PROJECT_ROLES = "/v1/projects/{project}"
"""Where OpenAI has the roles of a project."""
RIGHTS: Mapping[tuple[str, str], Right] = {
    # Projects.
    ("GET", "/v1/organization/projects"): "see",
    ("POST", "/v1/organization/projects"): "projects",
    ("GET", PROJECT): "see",
    ("POST", PROJECT): "projects",
    ("POST", f"{PROJECT}/archive"): "projects",
    ("GET", f"{PROJECT}/users"): "see",
    ("POST", f"{PROJECT}/users"): "people",
    ("GET", f"{PROJECT}/users/{{user}}"): "see",
    ("POST", f"{PROJECT}/users/{{user}}"): "people",
    ("DELETE", f"{PROJECT}/users/{{user}}"): "people",
    ("GET", f"{PROJECT}/service_accounts"): "see",
    ("POST", f"{PROJECT}/service_accounts"): "keys",
    ("GET", f"{PROJECT}/service_accounts/{{account}}"): "see",
    ("POST", f"{PROJECT}/service_accounts/{{account}}"): "keys",
    ("DELETE", f"{PROJECT}/service_accounts/{{account}}"): "keys",
    ("POST", f"{PROJECT}/service_accounts/{{account}}/api_keys"): "keys",
    ("GET", f"{PROJECT}/api_keys"): "see",
    ("POST", f"{PROJECT}/api_keys"): "own_keys",
    ("GET", f"{PROJECT}/api_keys/{{key}}"): "see",
    ("POST", f"{PROJECT}/api_keys/{{key}}"): "own_keys",
    ("DELETE", f"{PROJECT}/api_keys/{{key}}"): "own_keys",
    ("GET", f"{PROJECT}/rate_limits"): "see",
    ("POST", f"{PROJECT}/rate_limits/{{limit}}"): "limits",
    ("DELETE", f"{PROJECT}/rate_limits/{{limit}}"): "limits",
    **{
        (method, f"{root}/model_permissions"): "see" if method == "GET" else "limits"
        for root in ("/v1/organization", PROJECT)
        for method in ("GET", "POST", "DELETE")
    },
    # People.
    ("GET", "/v1/organization/users"): "see",
    ("GET", "/v1/organization/users/{user}"): "see",
    ("POST", "/v1/organization/users/{user}"): "people",
    ("DELETE", "/v1/organization/users/{user}"): "people",
    ("GET", "/v1/organization/invites"): "see",
    ("POST", "/v1/organization/invites"): "people",
    ("GET", "/v1/organization/invites/{invite}"): "see",
    ("DELETE", "/v1/organization/invites/{invite}"): "people",
    # Groups, and their parts in projects.
    ("GET", "/v1/organization/groups"): "see",
    ("POST", "/v1/organization/groups"): "people",
    ("GET", "/v1/organization/groups/{group}"): "see",
    ("POST", "/v1/organization/groups/{group}"): "people",
    ("DELETE", "/v1/organization/groups/{group}"): "people",
    ("GET", "/v1/organization/groups/{group}/users"): "see",
    ("POST", "/v1/organization/groups/{group}/users"): "people",
    ("GET", "/v1/organization/groups/{group}/users/{user}"): "see",
    ("DELETE", "/v1/organization/groups/{group}/users/{user}"): "people",
    ("GET", f"{PROJECT}/groups"): "see",
    ("POST", f"{PROJECT}/groups"): "people",
    ("GET", f"{PROJECT}/groups/{{group}}"): "see",
    ("DELETE", f"{PROJECT}/groups/{{group}}"): "people",
    ("GET", f"{PROJECT_ROLES}/roles"): "see",
    ("GET", f"{PROJECT_ROLES}/groups/{{group}}/roles"): "see",
    ("POST", f"{PROJECT_ROLES}/groups/{{group}}/roles"): "people",
    ("GET", f"{PROJECT_ROLES}/groups/{{group}}/roles/{{role}}"): "see",
    ("DELETE", f"{PROJECT_ROLES}/groups/{{group}}/roles/{{role}}"): "people",
    # A directory that keeps people and groups.
    **{
        ("GET", f"/scim/v2/{path}"): "provision"
        for path in ("ServiceProviderConfig", "ResourceTypes", "ResourceTypes/{type}", "Schemas", "Schemas/{schema}")
    },
    **{
        (method, f"/scim/v2/{path}"): "provision"
        for path, methods in (
            (".search", ("POST",)),
            ("Users", ("GET", "POST")),
            ("Users/.search", ("POST",)),
            ("Users/{id}", ("GET", "PUT", "PATCH", "DELETE")),
            ("Groups", ("GET", "POST")),
            ("Groups/.search", ("POST",)),
            ("Groups/{id}", ("GET", "PUT", "PATCH", "DELETE")),
            ("{rest:path}", ("GET", "POST", "PUT", "PATCH", "DELETE")),
        )
        for method in methods
    },
    # Keys that administer, and who did what.
    ("GET", "/v1/organization/admin_api_keys"): "admin_keys",
    ("POST", "/v1/organization/admin_api_keys"): "admin_keys",
    ("GET", "/v1/organization/admin_api_keys/{key}"): "admin_keys",
    ("DELETE", "/v1/organization/admin_api_keys/{key}"): "admin_keys",
    ("GET", "/v1/organization/audit_logs"): "audit",
    # Money.
    ("GET", "/v1/organization/usage/{kind}"): "usage",
    ("GET", "/v1/organization/costs"): "usage",
    **{
        (method, f"{root}/{path}"): "usage" if method == "GET" else "money"
        for root in ("/v1/organization", PROJECT)
        for path, methods in (
            ("spend_limit", ("GET", "POST", "DELETE")),
            ("spend_alerts", ("GET", "POST")),
            ("spend_alerts/{alert}", ("GET", "POST", "DELETE")),
        )
        for method in methods
    },
    # The server itself.
    ("GET", "/admin/chargeback"): "operate",
    ("GET", "/admin/pools"): "operate",
    ("POST", "/admin/reload"): "operate",
}
