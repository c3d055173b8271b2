-- What PostgreSQL needs beside the tables: the name of the installation that all hosts are of, addresses that are the same in capitals, and
-- an audit log that is only appended to.

CREATE TABLE installation (id TEXT NOT NULL);
INSERT INTO installation VALUES ('installation_' || replace(gen_random_uuid()::text, '-', ''));

CREATE UNIQUE INDEX person_by_email ON person (organization, lower(email));

CREATE FUNCTION audit_entry_only_grows() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'the audit log is only appended to'; END $$;
CREATE TRIGGER audit_entry_stays BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_entry_only_grows();
CREATE TRIGGER audit_entry_is_kept BEFORE TRUNCATE ON audit_entry FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_only_grows();
