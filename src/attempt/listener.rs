//! The parent's side of the message pipe: each line that a child wrote is handed out, in its order, or it is told why not.
//!
//! What a step made is published on the word of such a line, so none is passed over in silence. Reading is bounded, in
//! the length of a line and, once the child is dead, in time. Handing out is not: a worker that is slow, because its
//! database is, gets the messages of a child that has long ended.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::launcher::News;

/// Longest message that an attempt may write. Those it writes have some hundred bytes; whatever is longer than this is
/// no message, and must not fill the parent's memory.
const MESSAGE_BYTES: u64 = 1 << 20;

/// Why not all that a child told was heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    #[error("a line is no message: {reason}")]
    NoMessage { reason: String },
    #[error("a line is longer than {MESSAGE_BYTES} bytes")]
    TooLong,
    /// The pipe ended within a line.
    #[error("the last line is cut off")]
    CutOff,
    #[error("the pipe cannot be read: {reason}")]
    Unreadable { reason: String },
    /// The task that listened is gone.
    #[error("nobody listened any more")]
    Abandoned,
}

/// Hands out what one child tells.
pub(super) struct Listener {
    pub(super) news: mpsc::Sender<News>,
    /// Whether the child is dead.
    pub(super) exited: CancellationToken,
    /// How long the pipe of a dead child may be silent before it is left: something that it started may hold it open.
    pub(super) grace: Duration,
}

impl Listener {
    /// Reads to the end of the pipe and hands out each message.
    ///
    /// Errors: the first line that cannot be handed out; nothing is read behind it.
    pub(super) async fn listen(self, pipe: impl AsyncRead + Unpin) -> Result<(), Unheard> {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = (&mut reader).take(MESSAGE_BYTES);
            let read = tokio::select! {
                biased;
                read = limited.read_until(b'\n', &mut line) => read,
                () = self.silence() => Ok(0),
            };
            if let Err(error) = read {
                return Err(Unheard::Unreadable { reason: error.to_string() });
            }
            if line.is_empty() {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                return Err(if line.len() as u64 == MESSAGE_BYTES { Unheard::TooLong } else { Unheard::CutOff });
            }
            match serde_json::from_slice(&line) {
                // Read on where nobody listens, so that the child does not block on a full pipe.
                Ok(message) => drop(self.news.send(News::Message(message)).await),
                Err(error) => return Err(Unheard::NoMessage { reason: error.to_string() }),
            }
        }
    }

    /// Ends when a dead child's pipe has been waited for long enough.
    async fn silence(&self) {
        self.exited.cancelled().await;
        sleep(self.grace).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::spec::attempt::AttemptMessage;

    const A_MESSAGE: &str = "{\"message\":\"progress\",\"fraction\":0.5}\n";

    /// What is heard of `text`, written by a child that is dead; the pipe stays open where `held` says so.
    async fn hear(text: &str, held: bool) -> (Vec<News>, Result<(), Unheard>) {
        let (mut child, pipe) = duplex(4 << 20);
        child.write_all(text.as_bytes()).await.unwrap();
        let held = held.then_some(child);
        let (news, mut heard) = mpsc::channel(16);
        let exited = CancellationToken::new();
        exited.cancel();
        let result = Listener { news, exited, grace: Duration::from_millis(1) }.listen(pipe).await;
        drop(held);
        let mut messages = Vec::new();
        heard.recv_many(&mut messages, 16).await;
        (messages, result)
    }

    #[tokio::test]
    async fn messages_are_handed_out_until_the_pipe_ends_or_is_held_by_nobody_who_speaks() {
        for held in [false, true] {
            let (messages, result) = hear(&A_MESSAGE.repeat(3), held).await;
            assert_eq!(messages, vec![News::Message(AttemptMessage::Progress { fraction: 0.5 }); 3]);
            assert_eq!(result, Ok(()));
        }
    }

    // Each of these was passed over with a warning once, whatever it told.
    #[tokio::test]
    async fn a_line_that_cannot_be_heard_is_told_and_nothing_behind_it_is() {
        let long = format!("{{\"message\":\"checkpoint\",\"directory\":\"{}\"}}", "x".repeat(2 << 20));
        for (line, held) in [("not json", false), ("{\"message\":\"unheard of\"}", false), ("", false), (&long, true)] {
            let (messages, result) = hear(&format!("{A_MESSAGE}{line}\n{A_MESSAGE}"), held).await;
            assert_eq!(messages.len(), 1, "{result:?}");
            let too_long = line.len() > 1 << 20;
            assert_eq!(result == Err(Unheard::TooLong), too_long, "{result:?}");
            assert_eq!(matches!(result, Err(Unheard::NoMessage { .. })), !too_long, "{result:?}");
        }
        for held in [false, true] {
            let (messages, result) = hear(&format!("{A_MESSAGE}{{\"mess"), held).await;
            assert_eq!((messages.len(), result), (1, Err(Unheard::CutOff)));
        }
    }
}
