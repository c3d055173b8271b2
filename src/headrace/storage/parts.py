"""Who has which part in which project: what he was given himself, and what his groups were given; of several the strongest."""

from headrace.core.roles import ProjectRole, stronger
from headrace.storage.database import Database


def parts_of(database: Database, organization: str, person: str) -> dict[str, ProjectRole]:
    """His role in each project that has him, or a group of his."""
    sql = (
        "SELECT project, role FROM project_person WHERE organization = ? AND person = ? "
        "UNION ALL SELECT project, role FROM project_group JOIN group_person ON group_person.people_group = project_group.people_group "
        "WHERE organization = ? AND person = ?"
    )
    parts: dict[str, ProjectRole] = {}
    for project, role in database.execute(sql, (organization, person) * 2):
        parts[project] = stronger(parts.get(project, role), role)
    return parts
