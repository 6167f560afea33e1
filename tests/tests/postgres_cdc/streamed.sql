insert into a values (0, 'before');
begin;
insert into a select g, 'first' from generate_series(1, 1500) g;
update a set v = 'second' where id % 3 = 0;
savepoint one;
insert into b select g, repeat('x', 50), g / 7.0 from generate_series(1, 1000) g;
savepoint two;
update a set id = id + 10000 where id % 50 = 0;
rollback to one;
insert into b select 5000 + g, repeat('y', 50), g / 7.0 from generate_series(1, 700) g;
savepoint three;
delete from a where id % 7 = 0;
release three;
select pg_logical_emit_message(true, 'pfx', 'in the transaction');
select pg_logical_emit_message(false, 'pfx', 'beside the transaction');
savepoint four;
alter table b add column early text default 'e';
insert into b select 7000 + g, 'rolled back', g from generate_series(1, 700) g;
rollback to four;
alter table b add column late int default 3;
insert into b select 8000 + g, 'late', g from generate_series(1, 600) g;
update a set id = id + 20000 where id % 100 = 0;
truncate empty;
commit;
begin;
insert into a select 40000 + g, 'never' from generate_series(1, 2000) g;
rollback;
begin;
savepoint all_of_it;
insert into a select 50000 + g, 'never' from generate_series(1, 2000) g;
rollback to all_of_it;
commit;
insert into a values (60000, 'small');
do $$
begin
    for i in 1..1500 loop
        begin
            insert into a values (70000 + i, repeat('z', 100));
            if i % 2 = 0 then raise exception 'dropped'; end if;
        exception when raise_exception then null;
        end;
    end loop;
end $$;
