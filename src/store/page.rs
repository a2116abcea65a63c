//! Pages of a list, newest first. A cursor names the last row that was seen, so rows that come in meanwhile shift nothing.

use uuid::Uuid;

/// Which page of a list.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// Rows on a page.
    limit: u32,
    /// The row after which the page begins.
    after: Option<Uuid>,
}

impl PageRequest {
    /// Rows on a page where the client names no number.
    pub const DEFAULT_LIMIT: u32 = 20;
    /// Most rows on a page.
    pub const MAX_LIMIT: u32 = 100;

    /// Reads what a client asked for.
    ///
    /// Errors: [`PageError`] with the parameter that is wrong.
    pub fn parse(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, PageError> {
        let limit = limit.unwrap_or(Self::DEFAULT_LIMIT);
        if !(1..=Self::MAX_LIMIT).contains(&limit) {
            return Err(PageError::Limit { limit });
        }
        let after = cursor.map(parse_cursor).transpose()?;
        Ok(Self { limit, after })
    }

    pub(crate) fn after(&self) -> Option<Uuid> {
        self.after
    }

    /// One row more than the page holds: whether it is there says whether there is a next page.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Makes a page of the rows that were fetched.
    pub(crate) fn page<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> Uuid) -> Page<T> {
        let limit = self.limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if more { items.last().map(|item| cursor(id(item))) } else { None };
        Page { items, next_cursor }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Leads to the next page; `None` on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The same page of something made from each item.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}

/// Why a page cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("`limit` must be between 1 and {}, is {limit}", PageRequest::MAX_LIMIT)]
    Limit { limit: u32 },
    #[error("`cursor` is not one that this service gave out")]
    Cursor,
}

/// `1` is the cursor's version.
fn cursor(id: Uuid) -> String {
    format!("1{}", id.simple())
}

fn parse_cursor(cursor: &str) -> Result<Uuid, PageError> {
    let id = cursor.strip_prefix('1').filter(|id| id.len() == 32).ok_or(PageError::Cursor)?;
    Uuid::try_parse(id).map_err(|_| PageError::Cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_row() {
        let id = Uuid::now_v7();
        assert_eq!(PageRequest::parse(None, Some(&cursor(id))).unwrap().after, Some(id));
    }

    #[test]
    fn what_is_not_a_cursor_is_refused() {
        for wrong in ["", "1", "018f0000-0000-7000-8000-000000000000", "2018f00000000700080000000000000ff", "1'; drop"]
        {
            assert_eq!(PageRequest::parse(None, Some(wrong)).unwrap_err(), PageError::Cursor, "{wrong}");
        }
    }

    #[test]
    fn a_limit_out_of_range_is_refused() {
        assert_eq!(PageRequest::parse(Some(0), None).unwrap_err(), PageError::Limit { limit: 0 });
        assert_eq!(PageRequest::parse(Some(101), None).unwrap_err(), PageError::Limit { limit: 101 });
    }

    #[test]
    fn only_a_page_with_rows_behind_it_has_a_next() {
        let request = PageRequest::parse(Some(2), None).unwrap();
        let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
        assert_eq!(
            request.page(ids.clone(), |id| *id),
            Page { items: ids[..2].to_vec(), next_cursor: Some(cursor(ids[1])) }
        );
        assert_eq!(request.page(ids[..2].to_vec(), |id| *id).next_cursor, None);
    }
}
