-- Jobs that look at a model and change nothing.
alter table jobs drop constraint jobs_kind_check;
alter table jobs add constraint jobs_kind_check check (kind in ('analyze', 'prune', 'retrain', 'evaluate', 'pipeline'));
