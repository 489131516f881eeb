//! The device's end of the link: sessions, sequence order, and the memory of the last replies that makes a *once*
//! request happen once.

use ohmrig_protocol::frame::SessionId;
use ohmrig_protocol::session::{Hello, MAX_CACHED_REPLY_BYTES, MAX_WINDOW, Unexecuted, Welcome};

/// A request dealt with: its identity, and the reply if it was *once*.
#[derive(Clone, Copy, Debug)]
struct Past {
    crc: u32,
    reply: Option<CachedReply>,
}

/// The serialized reply of a *once* request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CachedReply {
    bytes: [u8; MAX_CACHED_REPLY_BYTES],
    length: u8,
}

impl CachedReply {
    /// `None` if `body` is longer than a cached reply may be.
    pub(super) fn new(body: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_CACHED_REPLY_BYTES];
        bytes.get_mut(..body.len())?.copy_from_slice(body);
        Some(Self { bytes, length: u8::try_from(body.len()).ok()? })
    }

    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// What to do with a request frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Execute it. `first` is false for a *repeatable* one that came again.
    Execute { first: bool },
    /// Send this again, do nothing.
    Resend(CachedReply),
    /// Say why not.
    Refuse(Unexecuted),
}

/// What to do with a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// A new session, which ends the old one.
    Opened(Welcome),
    /// The hello of the present session again, before its first request: the welcome may have been lost.
    Again(Welcome),
    /// The hello of the present session again, after requests: a late copy, not to be answered.
    Late,
}

/// Sessions and sequence numbers.
#[derive(Debug)]
pub(super) struct Link {
    boot_nonce: u64,
    sessions: u32,
    host_nonce: Option<u64>,
    session: SessionId,
    /// The next number to execute.
    next: u32,
    past: [Option<Past>; MAX_WINDOW],
}

impl Link {
    pub(super) fn new(boot_nonce: u64) -> Self {
        Self {
            boot_nonce,
            sessions: 0,
            host_nonce: None,
            session: SessionId::NONE,
            next: 0,
            past: [None; MAX_WINDOW],
        }
    }

    pub(super) fn boot_nonce(&self) -> u64 {
        self.boot_nonce
    }

    /// The last number of this session that was dealt with.
    pub(super) fn last(&self) -> Option<u32> {
        self.next.checked_sub(1)
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    pub(super) fn hello(&mut self, hello: Hello, max_frame: u32, window: u8, job_cells: u32) -> Greeting {
        let again = self.host_nonce == Some(hello.host_nonce);
        if again && self.next > 0 {
            return Greeting::Late;
        }
        if !again {
            self.sessions = self.sessions.wrapping_add(1);
            self.host_nonce = Some(hello.host_nonce);
            self.next = 0;
            self.past = [None; MAX_WINDOW];
        }
        let welcome = Welcome {
            host_nonce: hello.host_nonce,
            boot_nonce: self.boot_nonce,
            sessions: self.sessions,
            max_frame,
            window,
            job_cells,
        };
        self.session = welcome.session();
        if again { Greeting::Again(welcome) } else { Greeting::Opened(welcome) }
    }

    /// What to do with request number `sequence` whose body has this CRC.
    pub(super) fn judge(&self, session: SessionId, sequence: u32, crc: u32) -> Verdict {
        // The last number is never used: a session ends before its numbers wrap.
        if self.host_nonce.is_none() || session != self.session || sequence == u32::MAX {
            return Verdict::Refuse(Unexecuted::NoSession { boot_nonce: self.boot_nonce });
        }
        if sequence == self.next {
            return Verdict::Execute { first: true };
        }
        if sequence > self.next {
            return Verdict::Refuse(Unexecuted::Expected { sequence: self.next });
        }
        let oldest = self.next.saturating_sub(MAX_WINDOW as u32);
        if sequence < oldest {
            return Verdict::Refuse(Unexecuted::Stale { oldest });
        }
        match self.slot(sequence) {
            Some(past) if past.crc != crc => Verdict::Refuse(Unexecuted::Reused),
            Some(Past { reply: Some(reply), .. }) => Verdict::Resend(reply),
            Some(Past { reply: None, .. }) => Verdict::Execute { first: false },
            None => Verdict::Refuse(Unexecuted::Stale { oldest }),
        }
    }

    /// Remembers that a request was dealt with; `reply` is kept for a *once* one.
    pub(super) fn executed(&mut self, sequence: u32, crc: u32, reply: Option<CachedReply>) {
        if sequence != self.next {
            return; // A repeatable request that ran again.
        }
        self.next = self.next.saturating_add(1);
        if let Some(slot) = self.past.get_mut(sequence as usize % MAX_WINDOW) {
            *slot = Some(Past { crc, reply });
        }
    }

    fn slot(&self, sequence: u32) -> Option<Past> {
        self.past.get(sequence as usize % MAX_WINDOW).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn open() -> Link {
        let mut link = Link::new(77);
        assert!(matches!(link.hello(Hello { host_nonce: 1 }, 512, 4, 256), Greeting::Opened(_)));
        link
    }

    #[test]
    fn requests_execute_in_order_and_a_gap_is_named() {
        let mut link = open();
        let session = link.session();
        assert_eq!(link.judge(session, 0, 5), Verdict::Execute { first: true });
        assert_eq!(link.judge(session, 1, 5), Verdict::Refuse(Unexecuted::Expected { sequence: 0 }));
        link.executed(0, 5, None);
        assert_eq!(link.judge(session, 1, 5), Verdict::Execute { first: true });
    }

    #[test]
    fn a_once_request_that_comes_again_gets_its_reply_and_nothing_else() {
        let mut link = open();
        let session = link.session();
        let reply = CachedReply::new(&[1, 2, 3]).unwrap();
        link.executed(0, 5, Some(reply));
        assert_eq!(link.judge(session, 0, 5), Verdict::Resend(reply));
        assert_eq!(reply.body(), [1, 2, 3]);
    }

    #[test]
    fn another_request_under_an_old_number_is_refused() {
        let mut link = open();
        link.executed(0, 5, None);
        assert_eq!(link.judge(link.session(), 0, 6), Verdict::Refuse(Unexecuted::Reused));
        assert_eq!(link.judge(link.session(), 0, 5), Verdict::Execute { first: false });
    }

    #[test]
    fn a_number_below_the_cache_is_never_executed() {
        let mut link = open();
        for sequence in 0..=MAX_WINDOW as u32 {
            link.executed(sequence, 5, None);
        }
        assert_eq!(link.judge(link.session(), 0, 5), Verdict::Refuse(Unexecuted::Stale { oldest: 1 }));
    }

    #[test]
    fn traffic_of_an_older_session_is_worthless() {
        let mut link = open();
        let old = link.session();
        link.executed(0, 5, None);
        assert!(matches!(link.hello(Hello { host_nonce: 2 }, 512, 4, 256), Greeting::Opened(_)));
        assert_eq!(link.judge(old, 0, 5), Verdict::Refuse(Unexecuted::NoSession { boot_nonce: 77 }));
        // Not even when the hello that opened it is played again.
        assert!(matches!(link.hello(Hello { host_nonce: 1 }, 512, 4, 256), Greeting::Opened(_)));
        assert_ne!(link.session(), old);
    }

    #[test]
    fn a_hello_is_answered_again_until_the_first_request_and_ignored_after() {
        let mut link = open();
        let session = link.session();
        assert!(matches!(link.hello(Hello { host_nonce: 1 }, 512, 4, 256), Greeting::Again(_)));
        assert_eq!(link.session(), session);
        link.executed(0, 5, None);
        assert_eq!(link.hello(Hello { host_nonce: 1 }, 512, 4, 256), Greeting::Late);
        assert_eq!(link.session(), session);
    }

    #[test]
    fn before_any_hello_nothing_is_executed() {
        let link = Link::new(77);
        assert!(matches!(link.judge(SessionId::NONE, 0, 0), Verdict::Refuse(Unexecuted::NoSession { .. })));
    }

    #[test]
    fn numbers_never_wrap_within_a_session() {
        let mut link = open();
        link.next = u32::MAX;
        assert!(matches!(
            link.judge(link.session(), u32::MAX, 0),
            Verdict::Refuse(Unexecuted::NoSession { .. })
        ));
    }
}
