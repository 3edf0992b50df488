//! The tokens of an auth server: which ones live, and what becomes of a family when one of its
//! refresh tokens is spent (RFC 9700 §4.14.2).
//!
//! A refresh token names its family and its place in it, and is sealed, so that a spent one is
//! known for what it is for ever without being remembered.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use serde_json::json;

use super::issuer::{Issuer, dates};
use crate::token::LONGEST_LIFE;

/// Below this many access tokens the dead ones are not worth a sweep.
const SWEEP_FROM: usize = 1024;

/// What a token of the client credentials grant names. The first family is 1.
const NO_FAMILY: u64 = 0;

#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) access_life: Duration,
    pub(super) refresh_life: Option<Duration>,
    pub(super) rotate: bool,
    /// How long a used refresh token is still answered with the successor that it obtained.
    pub(super) grace: Duration,
    pub(super) opaque: bool,
    /// An access token dies when its family gets a new one.
    pub(super) one_access_token: bool,
    pub(super) scope: String,
    /// The server's clock is ahead of ours by `.0` and behind by `.1`.
    pub(super) clock: (Duration, Duration),
}

impl Policy {
    pub(super) fn clock_is_wrong(&self) -> bool {
        self.clock != (Duration::ZERO, Duration::ZERO)
    }

    pub(super) fn server_time(&self) -> SystemTime {
        let (ahead, behind) = self.clock;
        SystemTime::now() + ahead - behind
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            access_life: Duration::from_secs(60 * 60),
            refresh_life: None,
            rotate: false,
            grace: Duration::ZERO,
            opaque: false,
            one_access_token: false,
            scope: "read write".to_owned(),
            clock: (Duration::ZERO, Duration::ZERO),
        }
    }
}

/// The answer to a grant.
pub(super) struct Issued {
    pub(super) access_token: String,
    /// What is left of its life.
    pub(super) life: Duration,
    /// The family's live refresh token. `None` for client credentials.
    pub(super) refresh_token: Option<String>,
    pub(super) within_grace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No refresh token of this server's, or one of a revoked family.
    Unknown,
    Expired,
    /// Spent before: the family is revoked now.
    Reused,
}

pub(super) struct Ledger {
    pub(super) policy: Policy,
    issuer: Issuer,
    /// Those that are not revoked.
    families: HashMap<u64, Family>,
    /// Access tokens by serial number; those that died of age may linger until a sweep.
    access: HashMap<u64, Access>,
    last_family: u64,
    last_serial: u64,
    sweep_at: usize,
}

struct Family {
    /// The place of the live refresh token; all before it are spent.
    place: u64,
    expires: Option<Instant>,
    rotated: Instant,
    /// The newest access token, to hand out again within the grace period.
    newest: u64,
    access_token: String,
}

struct Access {
    /// `None` for client credentials.
    family: Option<u64>,
    expires: Instant,
}

impl Ledger {
    pub(super) fn new(policy: Policy, issuer: Issuer) -> Self {
        Self {
            policy,
            issuer,
            families: HashMap::new(),
            access: HashMap::new(),
            last_family: 0,
            last_serial: 0,
            sweep_at: SWEEP_FROM,
        }
    }

    /// A new family.
    pub(super) fn log_in(&mut self) -> Issued {
        let now = Instant::now();
        self.last_family += 1;
        let id = self.last_family;
        let (newest, access_token) = self.issue(Some(id), now);
        let family = Family {
            place: 1,
            expires: self.refresh_expiry(now),
            rotated: now,
            newest,
            access_token,
        };
        self.families.insert(id, family);
        self.issued(id, now)
    }

    pub(super) fn client_credentials(&mut self) -> Issued {
        let now = Instant::now();
        if self.policy.one_access_token {
            self.access.retain(|_, access| access.family.is_some());
        }
        Issued {
            access_token: self.issue(None, now).1,
            life: self.policy.access_life,
            refresh_token: None,
            within_grace: false,
        }
    }

    pub(super) fn refresh(&mut self, refresh_token: &str) -> Result<Issued, Refused> {
        let now = Instant::now();
        let (id, place) = self.place(refresh_token).ok_or(Refused::Unknown)?;
        let family = self.families.get(&id).ok_or(Refused::Unknown)?;
        if place != family.place {
            let successor = place + 1 == family.place;
            if !successor || now.duration_since(family.rotated) >= self.policy.grace {
                self.revoke(id);
                return Err(Refused::Reused);
            }
            // The successor again; with its access token, if that is still good.
            if !self.lives(family.newest, now) {
                self.renew(id, now);
            }
            let issued = self.issued(id, now);
            return Ok(Issued { within_grace: true, ..issued });
        }
        if family.expires.is_some_and(|expires| expires <= now) {
            return Err(Refused::Expired);
        }
        self.renew(id, now);
        if self.policy.rotate {
            let expires = self.refresh_expiry(now);
            let family = self.family(id);
            family.place += 1;
            family.rotated = now;
            family.expires = expires;
        }
        Ok(self.issued(id, now))
    }

    /// Whether the API accepts an access token with this serial number: no leeway.
    pub(super) fn accepts(&self, serial: u64) -> bool {
        self.lives(serial, Instant::now())
    }

    pub(super) fn revoke_access_tokens(&mut self) {
        self.access.clear();
    }

    pub(super) fn revoke_all(&mut self) {
        self.access.clear();
        self.families.clear();
    }

    /// Revokes the family that a token belongs to, or the token alone if it has none. Whether the
    /// token was known and its family alive.
    pub(super) fn revoke_by_token(&mut self, token: &str) -> bool {
        if let Some((family, _)) = self.place(token) {
            return self.revoke(family);
        }
        match named(&self.issuer, token) {
            Some((serial, NO_FAMILY)) => self.access.remove(&serial).is_some(),
            Some((_, family)) => self.revoke(family),
            None => false,
        }
    }

    fn revoke(&mut self, id: u64) -> bool {
        self.access.retain(|_, access| access.family != Some(id));
        self.families.remove(&id).is_some()
    }

    /// Gives a family a new access token.
    fn renew(&mut self, id: u64, now: Instant) {
        if self.policy.one_access_token {
            let old = self.family(id).newest;
            self.access.remove(&old);
        }
        let (newest, access_token) = self.issue(Some(id), now);
        let family = self.family(id);
        family.newest = newest;
        family.access_token = access_token;
    }

    fn issue(&mut self, family: Option<u64>, now: Instant) -> (u64, String) {
        if self.access.len() >= self.sweep_at {
            self.access.retain(|_, access| access.expires > now);
            self.sweep_at = SWEEP_FROM.max(self.access.len() * 2);
        }
        self.last_serial += 1;
        let serial = self.last_serial;
        let expires = now + self.policy.access_life.min(LONGEST_LIFE);
        self.access.insert(serial, Access { family, expires });
        let name = format!("{serial}~{}", family.unwrap_or(NO_FAMILY));
        if self.policy.opaque {
            return (serial, self.issuer.seal(&format!("access~{name}")));
        }
        let (iat, exp) = dates(self.policy.server_time(), self.policy.access_life);
        let jwt = self.issuer.sign(&json!({
            "sub": family.map_or_else(|| "client".to_owned(), |id| format!("user-{id}")),
            "iat": iat,
            "exp": exp,
            "scope": self.policy.scope,
            "jti": self.issuer.seal(&format!("jti~{name}")),
        }));
        (serial, jwt)
    }

    fn issued(&self, id: u64, now: Instant) -> Issued {
        let family = &self.families[&id];
        let access = &self.access[&family.newest];
        let refresh_token = format!("refresh~{id}~{}", family.place);
        Issued {
            access_token: family.access_token.clone(),
            life: access.expires.duration_since(now),
            refresh_token: Some(self.issuer.seal(&refresh_token)),
            within_grace: false,
        }
    }

    fn family(&mut self, id: u64) -> &mut Family {
        self.families.get_mut(&id).expect("the caller has looked it up")
    }

    fn lives(&self, serial: u64, now: Instant) -> bool {
        let access = self.access.get(&serial);
        access.is_some_and(|access| access.expires > now)
    }

    /// The family of a refresh token and its place in it.
    fn place(&self, refresh_token: &str) -> Option<(u64, u64)> {
        let text = self.issuer.unseal(refresh_token)?;
        let (family, place) = text.strip_prefix("refresh~")?.split_once('~')?;
        Some((family.parse().ok()?, place.parse().ok()?))
    }

    fn refresh_expiry(&self, now: Instant) -> Option<Instant> {
        Some(now + self.policy.refresh_life?.min(LONGEST_LIFE))
    }
}

/// The serial number of an access token with a good signature. It takes no lock: the API checks
/// thousands of these a second.
pub(super) fn serial(issuer: &Issuer, access_token: &str) -> Option<u64> {
    named(issuer, access_token).map(|(serial, _)| serial)
}

/// The serial number and the family that an access token names, dead or alive.
fn named(issuer: &Issuer, access_token: &str) -> Option<(u64, u64)> {
    let name = |text: &str, kind| {
        let (serial, family) = text.strip_prefix(kind)?.split_once('~')?;
        Some((serial.parse().ok()?, family.parse().ok()?))
    };
    match issuer.verify(access_token) {
        // The signature vouches for the id; the seal in it only makes it unique among servers.
        Some(claims) => name(claims["jti"].as_str()?.rsplit_once('~')?.0, "jti~"),
        None => name(issuer.unseal(access_token)?, "access~"),
    }
}
