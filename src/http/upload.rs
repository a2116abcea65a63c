//! Receives an upload: body to spool file, hashed on the way, never held in memory. Knows of sizes, times and forms; what
//! the bytes mean is found out by an inspecting child.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::extract::{HAS_NUL, media_type, nul_in};
use super::metered::{Gauge, Metered, Pace};
use super::problem::{Problem, ProblemCode, ProblemItem};
use super::state::HttpSettings;
use crate::onnx::storage::external::is_flat;
use crate::store::object::Objects;
use crate::store::spool::{SpoolWriter, Spooled};

/// Longest form field beside the file.
const FIELD_BYTES: usize = 64 << 10;
/// Data files that may come with a model. Exporters write one, or one a tensor of models too large for that to matter;
/// each is an open file until the upload is done.
const DATA_FILES: usize = 256;
/// Longest name of a model or dataset, in characters.
pub const LONGEST_NAME: usize = 200;

/// The bytes of a file, in openapi.yaml.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "stands for bytes that are only ever streamed")]
pub struct File(Vec<u8>);

/// What an upload may consist of.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Largest file, data files included.
    pub file_bytes: u64,
    /// Form fields that may stand beside `file`.
    pub fields: &'static [&'static str],
    /// Data files that may come with the file, each a part of the form under its own file name.
    pub data_files: usize,
    /// Longest silence.
    pub idle_time: Duration,
    /// Least pace.
    pub pace: Pace,
    /// Longest upload as a whole.
    pub time: Duration,
}

impl Rules {
    /// The rules of models.
    pub fn model(settings: &HttpSettings) -> Self {
        Self {
            file_bytes: settings.model_bytes,
            fields: &[],
            data_files: DATA_FILES,
            idle_time: settings.upload_idle_time,
            pace: settings.upload_pace,
            time: settings.upload_time,
        }
    }

    /// The rules of datasets.
    pub fn dataset(settings: &HttpSettings) -> Self {
        Self { file_bytes: settings.dataset_bytes, fields: &["preprocess"], data_files: 0, ..Self::model(settings) }
    }
}

/// An upload that has arrived as a whole. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Received {
    pub file: Spooled,
    /// File name that a form gave.
    pub file_name: Option<String>,
    /// The other fields of a form.
    pub fields: Vec<(String, Bytes)>,
    /// Data files that a form brought beside the file, by name.
    pub data: BTreeMap<String, Spooled>,
}

/// Receives a raw body or a form.
///
/// Errors: a type that is not taken, a body that is too large, too slow or broken off, a full disk. Nothing stays behind.
pub async fn receive(objects: &Objects, rules: Rules, request: Request) -> Result<Received, Problem> {
    let gauge = Gauge::default();
    let metered = request.map(|body| Body::from_stream(Metered::new(body, rules.pace, gauge.clone())));
    receive_metered(objects, rules, &gauge, metered).await.map_err(|problem| gauge.explain(problem))
}

async fn receive_metered(
    objects: &Objects,
    rules: Rules,
    gauge: &Gauge,
    request: Request,
) -> Result<Received, Problem> {
    let clock = Clock { idle_time: rules.idle_time, end: Instant::now() + rules.time };
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match media_type(request.headers()).as_deref() {
        // The last is what curl says of any body unless it is told another type.
        None | Some("application/octet-stream" | "application/zip" | "application/x-www-form-urlencoded") => {
            if declared.is_some_and(|size| size > rules.file_bytes) {
                return Err(too_large(rules.file_bytes));
            }
            let body = request.into_body().into_data_stream();
            let file = spool(objects, rules.file_bytes, clock, gauge, body, |error| broken(&error)).await?;
            if declared.is_some_and(|size| size != file.blob().size_bytes) {
                return Err(Problem::new(ProblemCode::InvalidBody, "The body ended before its `Content-Length`."));
            }
            Ok(Received { file, file_name: None, fields: Vec::new(), data: BTreeMap::new() })
        }
        Some("multipart/form-data") => {
            let form = Multipart::from_request(request, &())
                .await
                .map_err(|rejection| Problem::new(ProblemCode::InvalidBody, rejection.body_text()))?;
            receive_form(objects, rules, clock, gauge, form).await
        }
        Some(other) => Err(Problem::new(
            ProblemCode::UnsupportedMediaType,
            format!(
                "Send the file itself as `application/octet-stream`, or a `multipart/form-data` with a field `file`, not \
                 `{other}`."
            ),
        )),
    }
}

async fn receive_form(
    objects: &Objects,
    rules: Rules,
    clock: Clock,
    gauge: &Gauge,
    mut form: Multipart,
) -> Result<Received, Problem> {
    let mut file = None;
    let mut file_name = None;
    let mut fields: Vec<(String, Bytes)> = Vec::new();
    let mut data = BTreeMap::new();
    let mut room = rules.file_bytes;
    let most = |error| too_large_whole(error, rules.file_bytes);
    while let Some(field) = clock.wait(form.next_field()).await?.map_err(|error| broken_form(&error))? {
        gauge.taken();
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" && file.is_none() {
            file_name = field.file_name().map(str::to_owned);
            let spooled = spool(objects, room, clock, gauge, field, |error| broken_form(&error)).await.map_err(most)?;
            room -= spooled.blob().size_bytes;
            file = Some(spooled);
        } else if rules.fields.contains(&name.as_str()) && !fields.iter().any(|(known, _)| *known == name) {
            fields.push((name, small_field(clock, gauge, field).await?));
        } else if let Some(own) = field.file_name()
            && name != "file"
            && data.len() < rules.data_files
        {
            let name = data_name(own, &data)?;
            let spooled = spool(objects, room, clock, gauge, field, |error| broken_form(&error)).await.map_err(most)?;
            room -= spooled.blob().size_bytes;
            data.insert(name, spooled);
        } else {
            let known = rules.fields.iter().fold("`file`".to_owned(), |list, field| format!("{list}, `{field}`"));
            let detail = format!("The form has a field `{name}` too many; it takes {known}, each once.");
            return Err(Problem::new(ProblemCode::InvalidBody, detail));
        }
    }
    let file = file.ok_or_else(|| Problem::new(ProblemCode::InvalidBody, "The form has no field `file`."))?;
    Ok(Received { file, file_name, fields, data })
}

/// The name of a data file, which is compared with what the model says and never used as a path.
fn data_name(name: &str, known: &BTreeMap<String, Spooled>) -> Result<String, Problem> {
    let wrong = |detail: String| Err(Problem::new(ProblemCode::ExternalData, detail).at(Some(name.to_owned())));
    if !is_flat(name) {
        return wrong(format!("`{name}` is not the name of a file beside the model; send it under its name alone."));
    }
    if known.contains_key(name) {
        return wrong(format!("The form has two data files named `{name}`."));
    }
    Ok(name.to_owned())
}

/// Of a part that is too large for the room that others left, the whole room is told.
fn too_large_whole(problem: Problem, most_bytes: u64) -> Problem {
    if problem.code() == ProblemCode::BodyTooLarge { too_large(most_bytes) } else { problem }
}

async fn small_field(clock: Clock, gauge: &Gauge, mut field: Field<'_>) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = clock.wait(field.chunk()).await?.map_err(|error| broken_form(&error))? {
        gauge.taken();
        if bytes.len() + chunk.len() > FIELD_BYTES {
            return Err(too_large(FIELD_BYTES as u64));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// Writes a stream to a spool file; a file that is not finished vanishes.
async fn spool<E>(
    objects: &Objects,
    most_bytes: u64,
    clock: Clock,
    gauge: &Gauge,
    stream: impl Stream<Item = Result<Bytes, E>>,
    broken: impl Fn(E) -> Problem,
) -> Result<Spooled, Problem> {
    let mut stream = std::pin::pin!(stream);
    let mut writer: SpoolWriter = objects.spool().await?;
    while let Some(chunk) = clock.wait(stream.next()).await? {
        let chunk = chunk.map_err(&broken)?;
        gauge.taken();
        if writer.size_bytes() + chunk.len() as u64 > most_bytes {
            return Err(too_large(most_bytes));
        }
        writer.write(&chunk).await?;
    }
    Ok(writer.finish().await?)
}

/// Bounds how long bytes are waited for.
#[derive(Clone, Copy)]
struct Clock {
    idle_time: Duration,
    end: Instant,
}

impl Clock {
    async fn wait<T>(self, next: impl Future<Output = T>) -> Result<T, Problem> {
        let until = self.end.min(Instant::now() + self.idle_time);
        tokio::time::timeout_at(until, next)
            .await
            .map_err(|_| Problem::new(ProblemCode::UploadTimedOut, "The body came too slowly; send it again."))
    }
}

fn too_large(most_bytes: u64) -> Problem {
    Problem::new(ProblemCode::BodyTooLarge, format!("The server takes at most {most_bytes} bytes here."))
}

fn broken(error: &axum::Error) -> Problem {
    Problem::new(ProblemCode::InvalidBody, "The body broke off.").caused_by(error.to_string())
}

fn broken_form(error: &MultipartError) -> Problem {
    let code = match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::BodyTooLarge,
        _ => ProblemCode::InvalidBody,
    };
    Problem::new(code, error.body_text())
}

/// The name under which an upload is kept: the one asked for, the file's own, or one made from the content.
pub fn name(asked: Option<String>, received: &Received, kind: &str) -> Result<String, Problem> {
    if let Some(asked) = asked {
        return match name_defect(&asked) {
            Some(defect) => Err(Problem::parameter("name", defect)),
            None => Ok(asked),
        };
    }
    let own = received.file_name.as_deref().and_then(|name| name.rsplit(['/', '\\']).next());
    match own {
        Some(own) if name_defect(own).is_none() => Ok(own.to_owned()),
        _ => Ok(format!("{kind}-{}", received.file.blob().sha256.get(..12).unwrap_or_default())),
    }
}

/// What is wrong with a name, if anything.
pub fn name_defect(name: &str) -> Option<String> {
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME {
        return Some(format!("must have 1 to {LONGEST_NAME} characters, has {length}"));
    }
    name.chars().any(char::is_control).then(|| "must not hold control characters".into())
}

/// A form field or parameter that holds JSON.
pub fn json_field<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Problem> {
    let wrong = |place: String, detail: String| {
        let item = ProblemItem { pointer: None, parameter: Some(format!("{name}{place}")), detail };
        Problem::pointing(ProblemCode::InvalidRequest, vec![item])
    };
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| wrong(String::new(), format!("is not JSON: {error}")))?;
    if let Some(place) = nul_in(&value) {
        return Err(wrong(place, HAS_NUL.into()));
    }
    crate::spec::job::read(Some(value), "").map_err(|error| wrong(error.pointer, error.message))
}
