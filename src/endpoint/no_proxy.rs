/// In a request's extensions: the default client sends it directly, whatever the environment says.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoProxy;
