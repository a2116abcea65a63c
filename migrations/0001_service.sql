-- The service's tables. Every tenant-owned row carries its tenant, in its key and in its foreign keys, so that no query and
-- no reference crosses from one tenant to another. Ids are UUIDv7, made by the service; times are the database's.

create table tenants (
    id uuid primary key,
    name text not null unique,
    created_at timestamptz not null default now()
);

-- The tenant of an installation without keys (`store::tenant::DEFAULT_TENANT`).
insert into tenants (id, name) values ('018f0000-0000-7000-8000-000000000000', 'default');

-- Content of the object store by SHA-256. A row is written before its object becomes visible and is locked while its object
-- is deleted; it belongs to the whole store, and tenants reach it only through rows of their own.
create table blobs (
    sha256 text primary key check (sha256 ~ '^[0-9a-f]{64}$'),
    size_bytes bigint not null check (size_bytes >= 0),
    created_at timestamptz not null default now(),
    -- When somebody last announced that they are about to refer to it; the collector leaves young rows alone.
    touched_at timestamptz not null default now()
);
create index blobs_touched on blobs (touched_at);

create table models (
    tenant_id uuid not null references tenants,
    id uuid not null,
    name text not null check (name <> ''),
    blob text not null references blobs,
    size_bytes bigint not null check (size_bytes >= 0),
    summary jsonb not null,
    -- Lineage. Plain ids: they stay true after the parent or the job is deleted.
    parent_id uuid,
    job_id uuid,
    step integer check (step >= 0),
    certificate jsonb,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    -- A step's model is published once, whatever happens.
    unique (tenant_id, job_id, step),
    check ((job_id is null) = (step is null))
);
create index models_blob on models (blob);

create table datasets (
    tenant_id uuid not null references tenants,
    id uuid not null,
    name text not null check (name <> ''),
    blob text not null references blobs,
    size_bytes bigint not null check (size_bytes >= 0),
    summary jsonb not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
create index datasets_blob on datasets (blob);

-- A job: the API's object and the queue's entry.
create table jobs (
    tenant_id uuid not null references tenants,
    id uuid not null,
    kind text not null check (kind in ('prune', 'retrain', 'evaluate', 'pipeline')),
    status text not null default 'queued'
        check (status in ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')),
    -- Plain ids: they stay true after the model or dataset is deleted; job_inputs holds the living references.
    model_id uuid not null,
    dataset_id uuid,
    name text,
    request jsonb not null,
    spec jsonb not null,
    created_at timestamptz not null default now(),

    -- When it may run: higher priority first, then earlier run_at.
    priority smallint not null default 0,
    run_at timestamptz not null default now(),

    -- What was tried. `attempt` counts attempts that were charged, `retries` those after a retryable failure,
    -- `crash_count` those after a lost worker.
    attempt integer not null default 0 check (attempt >= 0),
    retries integer not null default 0 check (retries >= 0),
    crash_count integer not null default 0 check (crash_count >= 0),

    -- The lease. The token counts claims and never falls: a write that carries an older one changes nothing.
    lease_token bigint not null default 0 check (lease_token >= 0),
    worker_id uuid,
    attempt_started_at timestamptz,
    lease_renewed_at timestamptz,
    lease_expires_at timestamptz,

    -- Running time that is allowed, and that ended attempts have used.
    deadline_ms bigint not null check (deadline_ms between 1 and 315360000000),
    used_ms bigint not null default 0 check (used_ms >= 0),

    cancel_requested_at timestamptz,
    stage text,
    step integer not null default 0 check (step >= 0),
    progress double precision not null default 0 check (progress >= 0 and progress <= 1),
    last_event_seq bigint not null default 0,

    error jsonb,
    report_blob text references blobs,
    plan_blob text references blobs,
    output_model_id uuid,
    started_at timestamptz,
    finished_at timestamptz,

    primary key (tenant_id, id),
    constraint jobs_lease_while_held check (
        (status in ('running', 'cancelling'))
        = (worker_id is not null and attempt_started_at is not null
           and lease_renewed_at is not null and lease_expires_at is not null)
        and (status in ('running', 'cancelling')
             or num_nonnulls(worker_id, attempt_started_at, lease_renewed_at, lease_expires_at) = 0)
    ),
    constraint jobs_held_was_claimed check (
        status not in ('running', 'cancelling') or (lease_token > 0 and attempt > 0 and started_at is not null)
    ),
    constraint jobs_finished_has_time check ((status in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint jobs_failed_has_error check ((status = 'failed') = (error is not null)),
    constraint jobs_cancel_was_requested check (
        (status in ('cancelling', 'cancelled')) = (cancel_requested_at is not null)
    ),
    constraint jobs_succeeded_has_report check ((status = 'succeeded') = (report_blob is not null)),
    constraint jobs_results_on_success check (status = 'succeeded' or (plan_blob is null and output_model_id is null))
);
create index jobs_runnable on jobs (priority desc, run_at, id) where status = 'queued';
create index jobs_leased on jobs (lease_expires_at) where status in ('running', 'cancelling');
create index jobs_finished on jobs (finished_at) where finished_at is not null;
create index jobs_by_status on jobs (tenant_id, status, id);
create index jobs_by_kind on jobs (tenant_id, kind, id);
create index jobs_by_model on jobs (tenant_id, model_id, id);
create index jobs_report_blob on jobs (report_blob) where report_blob is not null;
create index jobs_plan_blob on jobs (plan_blob) where plan_blob is not null;

-- The state machine of docs/QUEUE.md: which status may follow which, that a claim and nothing else raises the token, and that
-- a finished job does not change.
create function jobs_check_transition() returns trigger language plpgsql as $$
begin
    if old.status in ('succeeded', 'failed', 'cancelled') then
        raise exception 'job % is % and cannot change', old.id, old.status
            using errcode = 'check_violation', constraint = 'jobs_finished_is_final';
    end if;
    if old.status <> new.status and not (
        (old.status = 'queued' and new.status in ('running', 'cancelled'))
        or (old.status = 'running' and new.status in ('queued', 'cancelling', 'succeeded', 'failed'))
        or (old.status = 'cancelling' and new.status = 'cancelled')
    ) then
        raise exception 'job % cannot go from % to %', old.id, old.status, new.status
            using errcode = 'check_violation', constraint = 'jobs_transition';
    end if;
    if new.lease_token <> old.lease_token + (case when old.status = 'queued' and new.status = 'running' then 1 else 0 end) then
        raise exception 'job %: the token goes from % to %', old.id, old.lease_token, new.lease_token
            using errcode = 'check_violation', constraint = 'jobs_token';
    end if;
    if (new.tenant_id, new.id, new.kind, new.model_id, new.spec, new.created_at)
        is distinct from (old.tenant_id, old.id, old.kind, old.model_id, old.spec, old.created_at) then
        raise exception 'job %: what was asked for cannot change', old.id
            using errcode = 'check_violation', constraint = 'jobs_request_is_fixed';
    end if;
    return new;
end
$$;
create trigger jobs_transition before update on jobs for each row execute function jobs_check_transition();

-- NOTIFY only wakes; who listens looks at the rows. A renewed lease wakes nobody.
create function jobs_notify() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform pg_notify('secateur_queue', '');
        perform pg_notify('secateur_job', new.id::text);
        return null;
    end if;
    if new.status = 'queued' and old.status <> 'queued' then
        perform pg_notify('secateur_queue', '');
    end if;
    if new.status = 'cancelling' and old.status <> 'cancelling' then
        perform pg_notify('secateur_cancel', new.id::text);
    end if;
    if (new.last_event_seq, new.status, new.stage, new.step, new.progress)
        is distinct from (old.last_event_seq, old.status, old.stage, old.step, old.progress) then
        perform pg_notify('secateur_job', new.id::text);
    end if;
    return null;
end
$$;
create trigger jobs_notify after insert or update on jobs for each row execute function jobs_notify();

-- Every model and dataset that an unfinished job uses: while a row stands, its model or dataset cannot be deleted.
create table job_inputs (
    tenant_id uuid not null,
    job_id uuid not null,
    model_id uuid,
    dataset_id uuid,
    check (num_nonnulls(model_id, dataset_id) = 1),
    unique nulls not distinct (tenant_id, job_id, model_id, dataset_id),
    foreign key (tenant_id, job_id) references jobs on delete cascade,
    constraint job_inputs_model foreign key (tenant_id, model_id) references models,
    constraint job_inputs_dataset foreign key (tenant_id, dataset_id) references datasets
);
create index job_inputs_by_model on job_inputs (tenant_id, model_id) where model_id is not null;
create index job_inputs_by_dataset on job_inputs (tenant_id, dataset_id) where dataset_id is not null;

-- One row a claim.
create table job_attempts (
    tenant_id uuid not null,
    job_id uuid not null,
    lease_token bigint not null,
    -- Number of the attempt as charged; a released one's number is used again.
    attempt integer not null,
    worker_id uuid not null,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    outcome text check (outcome in ('succeeded', 'failed', 'retried', 'released', 'lost', 'cancelled')),
    error jsonb,
    primary key (tenant_id, job_id, lease_token),
    foreign key (tenant_id, job_id) references jobs on delete cascade,
    check ((ended_at is null) = (outcome is null))
);

-- A job's history, numbered without gaps in the order in which it was committed.
create table job_events (
    tenant_id uuid not null,
    job_id uuid not null,
    seq bigint not null check (seq > 0),
    attempt integer not null,
    kind text not null,
    message text not null,
    data jsonb not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, job_id, seq),
    foreign key (tenant_id, job_id) references jobs on delete cascade
);

-- The files of each unfinished job's last checkpoint.
create table job_checkpoints (
    tenant_id uuid not null,
    job_id uuid not null,
    file text not null check (file <> ''),
    blob text not null references blobs,
    size_bytes bigint not null check (size_bytes >= 0),
    -- The claim that wrote it.
    lease_token bigint not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, job_id, file),
    foreign key (tenant_id, job_id) references jobs on delete cascade
);
create index job_checkpoints_blob on job_checkpoints (blob);

-- Requests that created something, so that a repeated one is answered and not carried out again.
create table idempotency_keys (
    tenant_id uuid not null references tenants,
    key text not null check (key <> '' and length(key) <= 255),
    -- What was asked for: operation and SHA-256 of the body.
    fingerprint text not null,
    -- Names the request that carries it out; a request that was overtaken finds another.
    owner uuid not null,
    created_at timestamptz not null default now(),
    -- Until when nobody else may carry it out; no meaning once there is a response.
    in_flight_until timestamptz not null,
    expires_at timestamptz not null,
    status_code smallint,
    response jsonb,
    primary key (tenant_id, key),
    check ((status_code is null) = (response is null))
);
create index idempotency_keys_expiry on idempotency_keys (expires_at);
