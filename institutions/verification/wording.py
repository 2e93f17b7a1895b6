"""What reports say, in English and Chinese: "authentic, and unaltered", never "true".

Codes stay as they are in every language; the sentence beside a code says what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lowu.institutions.verification.verdicts import Check, Verdict, VerdictCode


class Language(StrEnum):
    """A language of reports."""

    EN = "en"
    ZH = "zh"


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of a report in one language."""

    sentences: Mapping[Verdict, str]
    offline: str
    """For a document that is authentic, but may not be in force any more."""
    titles: Mapping[Check, str]
    codes: Mapping[VerdictCode, str]
    labels: Mapping[str, str]
    """By name of the evidence."""
    columns: tuple[str, str, str, str, str]
    """Check, result, what it is about, findings, evidence."""
    shown: str
    """Title of the fields that are shown."""
    not_shown: str
    """Said instead of the fields of a rejected document."""


_ENGLISH = Wording(
    sentences={
        Verdict.ACCEPT: "Authentic, and unaltered since its registration.",
        Verdict.REJECT: "Not to be relied on: see the checks that failed.",
        Verdict.INDETERMINATE: "Undecided: something could not be checked. Try again later.",
    },
    offline=(
        "Authentic, and unaltered since its registration; whether it is still in force could not "
        "be checked."
    ),
    titles={
        Check.PACKAGE: "form",
        Check.INTEGRITY: "integrity: nothing changed",
        Check.ISSUER: "issuer: right and signature",
        Check.ANCHOR: "registration",
        Check.STATUS: "status: in force",
        Check.TIME: "age",
        Check.HOLDER: "holder and subject",
        Check.CONSENT: "consent",
        Check.REPLAY: "first use",
    },
    codes={
        VerdictCode.PKG_MALFORMED: "the file is not a presentation that this receiver can read",
        VerdictCode.PKG_UNSUPPORTED_VERSION: "of a version or schema that is not known here",
        VerdictCode.TAMPERED_FIELD: "the field is not what the issuer registered",
        VerdictCode.TAMPERED_HEADER: "the header is not what the issuer registered",
        VerdictCode.PROOF_INVALID: "a proof does not hold",
        VerdictCode.MANDATORY_FIELD_HIDDEN: "the holder hides a field that must be shown",
        VerdictCode.ATTACHMENT_UNEXPECTED: "the document has no file at this path",
        VerdictCode.ATTACHMENT_MISSING: "the file was not supplied, so it is not compared",
        VerdictCode.NOT_PROMISED: "documents of this kind do not say",
        VerdictCode.ISSUER_UNKNOWN: "no such organisation on the ledger",
        VerdictCode.ISSUER_NOT_ACCREDITED: "the issuer was not accredited for this schema",
        VerdictCode.ISSUER_SUSPENDED: "the issuer is suspended, or has left",
        VerdictCode.KEY_RETIRED_BEFORE: "the key was retired in this block, before the document",
        VerdictCode.KEY_COMPROMISED: "the key counts as stolen since this block",
        VerdictCode.SIG_INVALID: "the issuer's key did not sign it",
        VerdictCode.JURISDICTION_RULE: "not allowed between these jurisdictions",
        VerdictCode.NOT_REGISTERED: "the ledger does not have it",
        VerdictCode.PENDING_WITNESS: "its witnesses have not confirmed it yet",
        VerdictCode.NOT_FINAL: "registered in a block that this node does not have yet",
        VerdictCode.REVOKED: "its issuer has revoked it",
        VerdictCode.SUSPENDED: "its issuer has suspended it",
        VerdictCode.SUPERSEDED: "its issuer has replaced it by a newer one",
        VerdictCode.ERASED: "its issuer has erased it",
        VerdictCode.NOT_YET_VALID: "not valid yet",
        VerdictCode.EXPIRED: "its validity has ended",
        VerdictCode.STALE: "the report is too old",
        VerdictCode.REGISTERED_LATE: "registered too long after it was issued",
        VerdictCode.HOLDER_PROOF_MISSING: "the holder did not sign the presentation",
        VerdictCode.HOLDER_MISMATCH: "not what the holder of this document signed for this request",
        VerdictCode.SUBJECT_MISMATCH: "about someone else than the identified customer",
        VerdictCode.SCHEMA_MISMATCH: "of another schema than was asked for, or with other rules",
        VerdictCode.FIELDS_NOT_SHOWN: "asked for, and not shown in full",
        VerdictCode.CONSENT_MISSING: "no consent that covers this",
        VerdictCode.CONSENT_WITHDRAWN: "the holder withdrew the consent in this block",
        VerdictCode.CONSENT_EXPIRED: "the consent has expired",
        VerdictCode.PURPOSE_MISMATCH: "the consent is for another purpose",
        VerdictCode.FIELDS_NOT_CONSENTED: "shown without consent",
        VerdictCode.WRONG_AUDIENCE: "made for another receiver",
        VerdictCode.PRESENTATION_EXPIRED: "the request has expired; make a new one",
        VerdictCode.REPLAYED: "it was used before",
        VerdictCode.FRESHNESS_UNKNOWN: "what may have changed since could not be read",
    },
    labels={
        "accredited": "accredited",
        "anchor": "anchor",
        "block": "block hash",
        "block_time": "time of the latest block",
        "consent": "consent",
        "doc_digest": "document digest",
        "expires_at": "expires",
        "fields_shown": "leaves shown",
        "files_compared": "files compared",
        "granted_height": "logged in block",
        "height": "latest block",
        "key_id": "key",
        "key_known_at_height": "key known as of block",
        "leaves": "leaves in all",
        "node": "node",
        "nodes_asked": "nodes asked",
        "nonce": "nonce",
        "now": "checked at",
        "org": "issuer",
        "presentation": "presentation",
        "registered_height": "registered in block",
        "registered_time": "registered",
        "signed_by": "block signed by",
        "state": "state",
        "state_height": "since block",
    },
    columns=("check", "result", "passes if", "codes", "evidence"),
    shown="What is shown",
    not_shown="What is shown is left out of a rejection",
)
_CHINESE = Wording(
    sentences={
        Verdict.ACCEPT: "文件真实，自登记以来未被改动。",
        Verdict.REJECT: "不可采信：请查看未通过的检查项。",
        Verdict.INDETERMINATE: "无法判定：有检查项未能完成，请稍后重试。",
    },
    offline="文件真实，自登记以来未被改动；目前是否仍然有效无法核实。",
    titles={
        Check.PACKAGE: "格式",
        Check.INTEGRITY: "完整性：未被改动",
        Check.ISSUER: "签发机构：资格与签名",
        Check.ANCHOR: "登记",
        Check.STATUS: "状态：有效",
        Check.TIME: "时效",
        Check.HOLDER: "持有人与主体",
        Check.CONSENT: "授权同意",
        Check.REPLAY: "首次使用",
    },
    codes={
        VerdictCode.PKG_MALFORMED: "该文件不是本接收方可读取的出示文件",
        VerdictCode.PKG_UNSUPPORTED_VERSION: "版本或文件类型在此未知",
        VerdictCode.TAMPERED_FIELD: "字段与签发机构登记的不一致",
        VerdictCode.TAMPERED_HEADER: "文件头与签发机构登记的不一致",
        VerdictCode.PROOF_INVALID: "证明不成立",
        VerdictCode.MANDATORY_FIELD_HIDDEN: "持有人隐藏了必须出示的字段",
        VerdictCode.ATTACHMENT_UNEXPECTED: "文件在该路径没有附件",
        VerdictCode.ATTACHMENT_MISSING: "未提供附件，因此未作比对",
        VerdictCode.NOT_PROMISED: "此类文件未作说明",
        VerdictCode.ISSUER_UNKNOWN: "账本上没有该机构",
        VerdictCode.ISSUER_NOT_ACCREDITED: "签发机构未获准签发此类文件",
        VerdictCode.ISSUER_SUSPENDED: "签发机构已被暂停或已退出",
        VerdictCode.KEY_RETIRED_BEFORE: "密钥在文件登记之前的该区块已停用",
        VerdictCode.KEY_COMPROMISED: "密钥自该区块起视为已泄露",
        VerdictCode.SIG_INVALID: "签名并非出自签发机构的密钥",
        VerdictCode.JURISDICTION_RULE: "这些法域之间不允许使用",
        VerdictCode.NOT_REGISTERED: "账本上没有登记",
        VerdictCode.PENDING_WITNESS: "见证机构尚未确认",
        VerdictCode.NOT_FINAL: "登记所在的区块尚未到达该节点",
        VerdictCode.REVOKED: "签发机构已撤销",
        VerdictCode.SUSPENDED: "签发机构已暂停",
        VerdictCode.SUPERSEDED: "签发机构已用新文件替代",
        VerdictCode.ERASED: "签发机构已删除",
        VerdictCode.NOT_YET_VALID: "尚未生效",
        VerdictCode.EXPIRED: "有效期已过",
        VerdictCode.STALE: "报告过旧",
        VerdictCode.REGISTERED_LATE: "签发后过久才登记",
        VerdictCode.HOLDER_PROOF_MISSING: "持有人未签署出示文件",
        VerdictCode.HOLDER_MISMATCH: "并非该文件的持有人为本次请求所签署",
        VerdictCode.SUBJECT_MISMATCH: "文件主体不是已识别的客户",
        VerdictCode.SCHEMA_MISMATCH: "文件类型与请求的不同，或其规则与此处不同",
        VerdictCode.FIELDS_NOT_SHOWN: "所请求的内容未完整出示",
        VerdictCode.CONSENT_MISSING: "没有涵盖此项的授权同意",
        VerdictCode.CONSENT_WITHDRAWN: "持有人已在该区块撤回同意",
        VerdictCode.CONSENT_EXPIRED: "同意已过期",
        VerdictCode.PURPOSE_MISMATCH: "同意用于其他目的",
        VerdictCode.FIELDS_NOT_CONSENTED: "未经同意即出示",
        VerdictCode.WRONG_AUDIENCE: "为其他接收方制作",
        VerdictCode.PRESENTATION_EXPIRED: "请求已过期，请重新发出",
        VerdictCode.REPLAYED: "此前已使用过",
        VerdictCode.FRESHNESS_UNKNOWN: "此后可能的变化未能读取",
    },
    labels={
        "accredited": "资格",
        "anchor": "锚值",
        "block": "区块哈希",
        "block_time": "最新区块时间",
        "consent": "同意书",
        "doc_digest": "文件摘要",
        "expires_at": "到期",
        "fields_shown": "出示的叶子数",
        "files_compared": "已比对的附件数",
        "granted_height": "同意登记的区块",
        "height": "最新区块",
        "key_id": "密钥编号",
        "key_known_at_height": "密钥依据的区块",
        "leaves": "叶子总数",
        "node": "节点",
        "nodes_asked": "查询的节点数",
        "nonce": "请求随机数",
        "now": "检查时间",
        "org": "签发机构",
        "presentation": "出示编号",
        "registered_height": "登记区块",
        "registered_time": "登记时间",
        "signed_by": "区块签名",
        "state": "状态",
        "state_height": "状态始于区块",
    },
    columns=("检查项", "结果", "内容", "代码", "依据"),
    shown="出示的内容",
    not_shown="判定为不可采信时不显示出示的内容",
)
WORDINGS: Mapping[Language, Wording] = {Language.EN: _ENGLISH, Language.ZH: _CHINESE}
