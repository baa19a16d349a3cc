"""The service catalog: offerings and plans, their validation and their JSON Schemas."""

from __future__ import annotations

from .._internal.facade import set_home
from .models import (
    BindingSchemas,
    Catalog,
    CatalogError,
    CatalogWarning,
    DashboardClient,
    InstanceSchemas,
    MaintenanceInfo,
    Schema,
    Schemas,
    ServiceOffering,
    ServicePlan,
)

__all__ = [
    "BindingSchemas",
    "Catalog",
    "CatalogError",
    "CatalogWarning",
    "DashboardClient",
    "InstanceSchemas",
    "MaintenanceInfo",
    "Schema",
    "Schemas",
    "ServiceOffering",
    "ServicePlan",
]

set_home(__name__, CatalogError, CatalogWarning)
