//! Pages of lists as they are written.

use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::store::page::{Page as Rows, PageError, PageRequest};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Goes into `cursor` to get the next page; null on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The rows of a page, each as `wire` shows it.
    pub fn of<R>(rows: Rows<R>, wire: impl FnMut(R) -> T) -> Self {
        let Rows { items, next_cursor } = rows.map(wire);
        Self { items, next_cursor }
    }
}

/// Checks a page's size.
pub fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(PageRequest::DEFAULT_LIMIT);
    request(Some(limit), None).map(|_| limit)
}

/// Reads the two parameters that every list takes.
pub fn request(limit: Option<u32>, cursor: Option<&str>) -> Result<PageRequest, Problem> {
    PageRequest::parse(limit, cursor).map_err(|error| {
        let parameter = match error {
            PageError::Limit { .. } => "limit",
            PageError::Cursor => "cursor",
        };
        Problem::parameter(parameter, error.to_string())
    })
}
