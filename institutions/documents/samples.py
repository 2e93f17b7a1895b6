"""An invented document of each schema."""

from collections.abc import Callable

from lowu.institutions.documents.document import (
    Document,
    build_enterprise_report,
    build_kyc_file,
    build_owner_report,
)
from lowu.institutions.documents.personal import (
    build_asset_certificate,
    build_health_extract,
    build_hk_company_report,
    build_hk_personal_report,
    build_personal_report,
    build_residence_proof,
    build_transcript,
)

SAMPLES: dict[str, Callable[[int, int], Document]] = {
    "cn.ecr/1": build_enterprise_report,
    "cn.pcr/1": build_personal_report,
    "cn.smeowner/1": build_owner_report,
    "grp.kyc/1": build_kyc_file,
    "hk.ecr/1": build_hk_company_report,
    "hk.pcr/1": build_hk_personal_report,
    "cn.edu/1": build_transcript,
    "hk.ehr/1": build_health_extract,
    "mo.asset/1": build_asset_certificate,
    "svc.residence/1": build_residence_proof,
}
"""By schema: seed and time (seconds) give a document. `hk.ehr/1` has an image."""
