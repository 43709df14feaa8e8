//! Who may call a route. Each access is a type, so that a handler's signature says who may call it.

use crate::app::App;
use crate::auth::{Caller, Role};
use crate::problem::ApiError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::TenantScope;
use engine::query::View;
use engine::query::usage::UsageScope;
use std::collections::BTreeSet;
use std::ops::Deref;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anybody, without a token.
    Public,
    /// Whoever signs with the secret of the adapter, without a token.
    Signed,
    /// Who reads every tenant's costs, and tenants for their own.
    CostReader,
    /// The platform's admin, and tenants for their own; others are told that they are not the platform's admin.
    SnapshotReader,
    /// Who reads every tenant's costs.
    AdminReader,
    /// Who enters rates and costs.
    FinanceWriter,
    /// Finance, and tenants for their own statements.
    StatementReader,
    /// Who writes events, perhaps of some tenants only.
    EventWriter,
    /// The platform's admin.
    PlatformAdmin,
    /// The platform's admin, on routes that say so when they refuse.
    PlatformAdminOnly,
}

impl Access {
    /// Every access.
    pub const ALL: [Self; 10] = [
        Self::Public,
        Self::Signed,
        Self::CostReader,
        Self::SnapshotReader,
        Self::AdminReader,
        Self::FinanceWriter,
        Self::StatementReader,
        Self::EventWriter,
        Self::PlatformAdmin,
        Self::PlatformAdminOnly,
    ];

    /// Returns the word of the access in the OpenAPI document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "anybody",
            Self::Signed => "whoever signs with the secret of the adapter",
            Self::CostReader => "platform_admin, finance, admin; tenant_owner and tenant_viewer for their own tenants",
            Self::SnapshotReader => "platform_admin; tenant_owner and tenant_viewer for their own tenants",
            Self::AdminReader => "platform_admin, finance, admin",
            Self::FinanceWriter => "platform_admin, finance",
            Self::StatementReader => "platform_admin, finance; tenant_owner and tenant_viewer for their own tenants",
            Self::EventWriter => "platform_admin; ingest for its tenants or all",
            Self::PlatformAdmin | Self::PlatformAdminOnly => "platform_admin",
        }
    }

    /// Returns whether the role may call the route.
    #[must_use]
    pub fn allows(self, role: Role) -> bool {
        match self {
            Self::Public | Self::Signed => true,
            Self::CostReader => role.reads_all_tenants() || role.is_of_tenant(),
            Self::SnapshotReader => role == Role::PlatformAdmin || role.is_of_tenant(),
            Self::AdminReader => role.reads_all_tenants(),
            Self::FinanceWriter => matches!(role, Role::PlatformAdmin | Role::Finance),
            Self::StatementReader => matches!(role, Role::PlatformAdmin | Role::Finance) || role.is_of_tenant(),
            Self::EventWriter => matches!(role, Role::PlatformAdmin | Role::Ingest),
            Self::PlatformAdmin | Self::PlatformAdminOnly => role == Role::PlatformAdmin,
        }
    }

    /// Returns whether a caller must send a token.
    #[must_use]
    pub fn needs_token(self) -> bool {
        !matches!(self, Self::Public | Self::Signed)
    }

    /// Refuses a role that may not call the route.
    pub(crate) fn check(self, role: Role) -> Result<(), ApiError> {
        if self.allows(role) {
            return Ok(());
        }
        Err(match self {
            Self::PlatformAdminOnly | Self::SnapshotReader => ApiError::PlatformAdminRequired,
            _ => ApiError::Forbidden,
        })
    }
}

macro_rules! access_types {
    ($($(#[$doc:meta])* $name:ident => $access:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(Caller);

        impl Deref for $name {
            type Target = Caller;

            fn deref(&self) -> &Caller {
                &self.0
            }
        }

        impl FromRequestParts<App> for $name {
            type Rejection = ApiError;

            /// The layer around the route found out who calls; without it nobody does.
            async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, ApiError> {
                let caller = parts.extensions.get::<Caller>().cloned().ok_or(ApiError::Unauthenticated)?;
                Access::$access.check(caller.role)?;
                Ok(Self(caller))
            }
        }
    )*};
}

access_types! {
    /// A caller who reads costs, perhaps of some tenants only: see [`CostReader::scope`].
    CostReader => CostReader,
    /// A caller who reads snapshots, perhaps of some tenants only: see [`SnapshotReader::scope`].
    SnapshotReader => SnapshotReader,
    /// A caller who reads every tenant's costs.
    AdminReader => AdminReader,
    /// A caller who enters rates and costs.
    FinanceWriter => FinanceWriter,
    /// A caller who reads statements, perhaps of some tenants only: see [`StatementReader::scope`].
    StatementReader => StatementReader,
    /// A caller who writes events, perhaps of some tenants only: see [`EventWriter::scope`].
    EventWriter => EventWriter,
    /// The platform's admin.
    PlatformAdmin => PlatformAdmin,
    /// The platform's admin, on a route that answers `platform_admin_required` to everybody else.
    PlatformAdminOnly => PlatformAdminOnly,
}

impl CostReader {
    /// Returns a caller whose access was checked already.
    pub(crate) fn of(caller: Caller) -> Self {
        Self(caller)
    }

    /// Returns whose costs the caller may read.
    #[must_use]
    pub fn scope(&self) -> &TenantScope {
        &self.0.scope
    }

    /// Returns whose costs the caller may see in a view: all tenants at current rates are the platform admin's.
    ///
    /// # Errors
    /// [`ApiError::PlatformAdminRequired`].
    pub fn scope_in(&self, view: View) -> Result<&TenantScope, ApiError> {
        let is_of_all = self.0.scope == TenantScope::All && self.0.role != Role::PlatformAdmin;
        match view {
            View::CurrentRates if is_of_all => Err(ApiError::PlatformAdminRequired),
            View::CurrentRates | View::Posted => Ok(&self.0.scope),
        }
    }

    /// Returns whose usage the caller may see: snapshots of others are the platform admin's.
    #[must_use]
    pub fn usage_scope(&self) -> UsageScope {
        let tenants = self.0.scope.clone();
        let sees_them = self.0.role == Role::PlatformAdmin || tenants != TenantScope::All;
        let snapshots = if sees_them { tenants.clone() } else { TenantScope::Only(BTreeSet::new()) };
        UsageScope { tenants, snapshots }
    }
}

impl SnapshotReader {
    /// Returns whose snapshots the caller may read.
    #[must_use]
    pub fn scope(&self) -> &TenantScope {
        &self.0.scope
    }
}

impl StatementReader {
    /// Returns whose statements the caller may read.
    #[must_use]
    pub fn scope(&self) -> &TenantScope {
        &self.0.scope
    }
}

impl EventWriter {
    /// Returns whose events the caller may write.
    #[must_use]
    pub fn scope(&self) -> &TenantScope {
        &self.0.scope
    }
}
