//! Options of the commands, each also an environment variable, and how they become the settings of the other layers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::size::{parse_bytes, parse_duration};
use crate::http::HttpSettings;
use crate::spec::attempt::{DatasetLimits, ModelLimits};

/// Where state is kept.
#[derive(Clone, Debug, Args)]
pub(super) struct StateArguments {
    /// Folder of all files: objects, scratch, and the private PostgreSQL [default: /var/lib/secateur for root, else
    /// ~/.local/share/secateur]
    #[arg(long, env = "SECATEUR_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// A PostgreSQL of your own, as postgres://user:password@host/database, instead of the private one
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(super) database_url: Option<String>,
    /// Connections of the pool that requests and jobs share; leases are renewed on one of their own
    #[arg(long, env = "SECATEUR_DATABASE_CONNECTIONS", default_value_t = 16, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub(super) database_connections: u32,
}

impl StateArguments {
    /// The database that a command needs which starts none of its own.
    pub(super) fn named_database(&self) -> Result<&str> {
        self.database_url.as_deref().context("name the service's database with --database-url or DATABASE_URL")
    }
}

/// How jobs are run.
#[derive(Clone, Debug, Args)]
pub(super) struct WorkArguments {
    /// Jobs that run at the same time in this process
    #[arg(long, env = "SECATEUR_WORKERS", default_value_t = 1, value_name = "N")]
    pub(super) workers: u16,
    /// Threads for the numeric work of one job [default: processors ÷ workers]
    #[arg(long, env = "SECATEUR_THREADS", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) threads: Option<u32>,
    /// Memory of one job, above which it fails with out_of_memory [default: three quarters of the memory ÷ workers]
    #[arg(long, env = "SECATEUR_JOB_MEMORY", value_name = "SIZE", value_parser = parse_bytes)]
    pub(super) job_memory: Option<u64>,
    /// Largest file that a job may write
    #[arg(long, env = "SECATEUR_JOB_FILE", value_name = "SIZE", default_value = "16GiB", value_parser = parse_bytes)]
    pub(super) job_file: u64,
    /// Longest time between two checkpoints of a training loop
    #[arg(long, env = "SECATEUR_CHECKPOINT_INTERVAL", value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(super) checkpoint_interval: Duration,
    /// How long a job may take to leave its checkpoint when the service stops
    #[arg(long, env = "SECATEUR_DRAIN_GRACE", value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(super) drain_grace: Duration,
    /// How long a job stays with a worker that is not heard of any more
    #[arg(long, env = "SECATEUR_LEASE", value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub(super) lease: Duration,
    /// How often a worker looks for jobs by itself, should a notification be lost
    #[arg(long, env = "SECATEUR_POLL", value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(super) poll: Duration,
    /// Age at which finished jobs are deleted, with their events and reports; models stay
    #[arg(long, env = "SECATEUR_RETENTION", value_name = "TIME", default_value = "30d", value_parser = parse_duration)]
    pub(super) retention: Duration,
}

/// Limits of one look into an upload.
#[derive(Clone, Debug, Args)]
pub(super) struct InspectArguments {
    /// Memory for looking into one upload
    #[arg(long, env = "SECATEUR_INSPECT_MEMORY", value_name = "SIZE", default_value = "4GiB", value_parser = parse_bytes)]
    pub(super) inspect_memory: u64,
    /// Time for looking into one upload
    #[arg(long, env = "SECATEUR_INSPECT_TIME", value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub(super) inspect_time: Duration,
}

/// What uploads may hold.
#[derive(Clone, Debug, Args)]
pub(super) struct ContentArguments {
    /// Nodes and initializers of a model, each
    #[arg(long, env = "SECATEUR_MODEL_NODES", default_value_t = ModelLimits::default().nodes, value_name = "N")]
    model_nodes: u64,
    /// Depth of nested messages in a model
    #[arg(long, env = "SECATEUR_MODEL_NESTING", default_value_t = ModelLimits::default().nesting, value_name = "N")]
    model_nesting: u32,
    /// Elements of one tensor of a model
    #[arg(long, env = "SECATEUR_TENSOR_ELEMENTS", default_value_t = ModelLimits::default().tensor_elements, value_name = "N")]
    tensor_elements: u64,
    /// Files in a dataset's archive
    #[arg(long, env = "SECATEUR_DATASET_ENTRIES", default_value_t = DatasetLimits::default().entries, value_name = "N")]
    dataset_entries: u64,
    /// Size of a dataset's archive once it is unpacked
    #[arg(long, env = "SECATEUR_DATASET_UNPACKED", default_value = "64GiB", value_name = "SIZE", value_parser = parse_bytes)]
    dataset_unpacked: u64,
    /// Pixels of one image
    #[arg(long, env = "SECATEUR_IMAGE_PIXELS", default_value_t = DatasetLimits::default().image_pixels, value_name = "N")]
    image_pixels: u64,
}

impl ContentArguments {
    pub(super) fn model_limits(&self) -> ModelLimits {
        ModelLimits {
            nodes: self.model_nodes,
            initializers: self.model_nodes,
            nesting: self.model_nesting,
            tensor_elements: self.tensor_elements,
            ..ModelLimits::default()
        }
    }

    pub(super) fn dataset_limits(&self) -> DatasetLimits {
        DatasetLimits {
            entries: self.dataset_entries,
            unpacked_bytes: self.dataset_unpacked,
            image_pixels: self.image_pixels,
            ..DatasetLimits::default()
        }
    }
}

/// How requests are served.
#[derive(Clone, Debug, Args)]
pub(super) struct HttpArguments {
    /// Largest model that may be uploaded
    #[arg(long, env = "SECATEUR_UPLOAD_MODEL", default_value = "4GiB", value_name = "SIZE", value_parser = parse_bytes)]
    upload_model: u64,
    /// Largest dataset that may be uploaded
    #[arg(long, env = "SECATEUR_UPLOAD_DATASET", default_value = "32GiB", value_name = "SIZE", value_parser = parse_bytes)]
    upload_dataset: u64,
    /// Uploads at the same time; more are told to come back
    #[arg(long, env = "SECATEUR_CONCURRENT_UPLOADS", default_value_t = 4, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    concurrent_uploads: u16,
    /// Requests at the same time
    #[arg(long, env = "SECATEUR_CONCURRENT_REQUESTS", default_value_t = 512, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    concurrent_requests: u16,
    /// Running time of a job that names no deadline
    #[arg(long, env = "SECATEUR_JOB_DEADLINE", default_value = "24h", value_name = "TIME", value_parser = parse_duration)]
    job_deadline: Duration,
}

impl HttpArguments {
    pub(super) fn settings(&self, content: &ContentArguments) -> HttpSettings {
        let defaults = HttpSettings::default();
        HttpSettings {
            model_bytes: self.upload_model,
            dataset_bytes: self.upload_dataset,
            model_limits: content.model_limits(),
            dataset_limits: content.dataset_limits(),
            concurrent_uploads: self.concurrent_uploads.into(),
            concurrent_requests: self.concurrent_requests.into(),
            job_deadline: self.job_deadline,
            longest_job_deadline: defaults.longest_job_deadline.max(self.job_deadline),
            ..defaults
        }
    }
}
