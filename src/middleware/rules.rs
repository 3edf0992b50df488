//! Which requests get a token, and which responses refuse it.

use std::{borrow::Cow, time::Duration};

use http::{Extensions, HeaderMap, HeaderName, Uri, header::AUTHORIZATION, uri::Scheme};

use super::{
    head::{RequestHead, ResponseHead},
    refusal::{RefusedWhen, StepUp, Verdict, standard},
};
use crate::{
    error::{Error, ErrorKind},
    origin::Origin,
    origin::plaintext::check_encrypted,
    session::{Session, Token},
};

/// Put into the extensions of a request, it opts out: the request gets no token, and its refusal is
/// handed through.
///
/// It stays in the extensions, so every other `RefreshLayer` further inside sees it as well and
/// adds no token either.
///
/// ```
/// let mut request = http::Request::get("https://api.example.com/health").body(()).unwrap();
/// request.extensions_mut().insert(tower_refresh::NoToken);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoToken;

/// All that a service, or another client's middleware, has to know.
#[derive(Clone, Debug)]
pub(crate) struct Config<P> {
    pub(crate) session: Session,
    pub(crate) rules: Rules,
    pub(crate) policy: P,
}

/// What applies to requests.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) header: HeaderName,
    pub(crate) only_for: Option<Vec<Origin>>,
    pub(crate) origin: Option<Origin>,
    pub(crate) allow_plaintext: bool,
    pub(crate) refused_when: Option<RefusedWhen>,
    pub(crate) acceptance_delay: Duration,
    pub(crate) reports_token: bool,
}

impl<P> Config<P> {
    /// Whether a request gets a token.
    ///
    /// The order counts. A request that goes out unsigned is not checked any further; and which
    /// origins a token may reach depends on whose it is, so that comes first.
    #[inline(always)]
    pub(crate) fn signs(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<bool, Error> {
        let (rules, origins) = (&self.rules, self.session.origins());
        if rules.leave_alone(headers, extensions) {
            return Ok(false);
        }
        if rules.only_for.is_none() && origins.is_none() && uri.scheme() == Some(&Scheme::HTTPS) {
            // The usual case; what is below would say the same.
            return Ok(true);
        }
        rules.permit(uri, &self.session)
    }

    /// Whether a response refuses the token of its request, so that another is to be tried.
    ///
    /// `custom` is the user's predicate, if there is one, and the request that it is about. A
    /// response from another origin, where a redirect below the layer has led, says nothing: the
    /// token was not for that server.
    #[inline(always)]
    pub(crate) fn is_refused(
        &self,
        custom: Option<(&RefusedWhen, RequestHead<'_>)>,
        response: &ResponseHead<'_>,
        cross_origin: impl FnOnce() -> bool,
    ) -> bool {
        let verdict = match custom {
            None => standard(response),
            Some((predicate, request)) => predicate.judge(&request, response),
        };
        match verdict {
            Verdict::Fine => false,
            _ if cross_origin() => false,
            Verdict::Refused => true,
            Verdict::StepUp(StepUp { acr_values, max_age }) => {
                self.session.step_up_required(acr_values, max_age);
                false
            }
        }
    }
}

impl Rules {
    /// Whether the caller has seen to this request: it opted out, or has the header already.
    #[inline]
    fn leave_alone(&self, headers: &HeaderMap, extensions: &Extensions) -> bool {
        let opted_out = extensions.get::<NoToken>().is_some();
        // There are a few headers at most: to hash a name takes longer than to look at them.
        opted_out || headers.keys().any(|name| *name == self.header)
    }

    /// Whether a token may go to this URI, or rather nothing at all: an error.
    fn permit(&self, uri: &Uri, session: &Session) -> Result<bool, Error> {
        if !self.reach(uri)? {
            return Ok(false);
        }
        if let Some(origins) = session.origins()
            && !self.is_one_of(origins, uri)?
            && !session.reaches(self.whole(uri)?.as_ref())
        {
            return Err(self.wrong_origin(origins, uri));
        }
        self.check_encrypted(uri)?;
        Ok(true)
    }

    /// Whether the layer signs requests to this URI. If not, none is an error for a later reason.
    fn reach(&self, uri: &Uri) -> Result<bool, Error> {
        if uri.scheme().is_none() && uri.authority().is_some() {
            // A tunnel (`CONNECT host:port`): the token is for what will be asked through it.
            return Ok(false);
        }
        match &self.only_for {
            None => Ok(true),
            Some(origins) => self.is_one_of(origins, uri),
        }
    }

    fn check_encrypted(&self, uri: &Uri) -> Result<(), Error> {
        if let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) {
            return check_encrypted(scheme, || authority.host(), self.allow_plaintext);
        }
        match &self.origin {
            None if self.allow_plaintext => Ok(()),
            _ => self.assumed_origin()?.check_encrypted(self.allow_plaintext),
        }
    }

    /// Whether a request to this URI goes to one of these.
    fn is_one_of(&self, origins: &[Origin], uri: &Uri) -> Result<bool, Error> {
        if uri.authority().is_some() {
            return Ok(origins.iter().any(|origin| origin.is_of(uri)));
        }
        Ok(origins.contains(self.assumed_origin()?))
    }

    /// Puts the token on a request.
    #[inline]
    pub(crate) fn put(&self, token: &Token, headers: &mut HeaderMap) {
        headers.insert(&self.header, token.header_value().clone());
    }

    /// The URI with the origin that the layer says, if it has none itself.
    fn whole<'a>(&self, uri: &'a Uri) -> Result<Cow<'a, Uri>, Error> {
        if uri.authority().is_some() {
            return Ok(Cow::Borrowed(uri));
        }
        let whole = format!("{}{uri}", self.assumed_origin()?);
        Ok(Cow::Owned(whole.parse().unwrap_or_else(|_| uri.clone())))
    }

    fn assumed_origin(&self) -> Result<&Origin, Error> {
        self.origin.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::UnknownOrigin,
                "the request's URI does not say where it goes: say so with `RefreshLayer::origin`",
            )
        })
    }

    fn wrong_origin(&self, origins: &[Origin], uri: &Uri) -> Error {
        let asked = Origin::of(uri).or_else(|| self.origin.clone());
        let asked = asked.map_or_else(|| "an unknown origin".to_owned(), |asked| asked.to_string());
        let own: Vec<_> = origins.iter().map(Origin::to_string).collect();
        let own = if own.is_empty() { "no origin at all".to_owned() } else { own.join(", ") };
        Error::new(
            ErrorKind::WrongOrigin,
            format!(
                "the request goes to {asked}, and the session's tokens are for {own}: send it with \
                 the session of that host, or name the host in `SessionBuilder::origins`"
            ),
        )
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            header: AUTHORIZATION,
            only_for: None,
            origin: None,
            allow_plaintext: false,
            refused_when: None,
            acceptance_delay: Duration::ZERO,
            reports_token: false,
        }
    }
}
