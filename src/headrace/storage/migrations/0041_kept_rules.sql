-- The rules under which what is kept was said (msgpack, see core/rules; NULL: none): whatever goes on from it is under them, too.

ALTER TABLE response ADD COLUMN rules BLOB;
ALTER TABLE conversation ADD COLUMN rules BLOB;
