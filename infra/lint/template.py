"""Rules for infra/template.yaml beside those of cfn-lint, so that a new resource cannot be forgotten."""

from cfnlint.rules import CloudFormationLintRule, RuleMatch

DATA = ("AWS::S3::Bucket", "AWS::DynamoDB::Table")
# Connections last two hours.
TRANSIENT = ("ConnectionsTable",)
RETAINING = ("Retain", "RetainExceptOnCreate")


def dead_letter_queues(cfn):
    return {name for name in cfn.get_resources("AWS::SQS::Queue") if name.endswith("DeadLetterQueue")}


class Retained(CloudFormationLintRule):
    id = "E9101"
    shortdesc = "Data outlives the stack"
    description = "A bucket, a table, a dead-letter queue or the tokens would be deleted with the stack."
    tags = ["landfall"]

    def match(self, cfn):
        kept = {*cfn.get_resources(DATA), *dead_letter_queues(cfn), "TokensSecret"} - {*TRANSIENT}
        return [
            RuleMatch(["Resources", name], f"{name} needs {policy}: Retain or RetainExceptOnCreate")
            for name in sorted(kept)
            for policy in ("DeletionPolicy", "UpdateReplacePolicy")
            if cfn.get_resources()[name].get(policy) not in RETAINING
        ]


class TlsOnly(CloudFormationLintRule):
    id = "E9102"
    shortdesc = "Buckets and queues refuse requests without TLS"
    description = "A bucket or a queue has no policy that denies requests without TLS."
    tags = ["landfall"]

    def match(self, cfn):
        covered = set()
        for policy in cfn.get_resources(("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy")).values():
            properties = policy["Properties"]
            if any(map(denies_without_tls, properties["PolicyDocument"]["Statement"])):
                targets = [properties["Bucket"]] if "Bucket" in properties else properties["Queues"]
                covered |= {target["Ref"] for target in targets}
        return [
            RuleMatch(["Resources", name], f"{name} needs a policy that denies requests without TLS")
            for name in sorted(cfn.get_resources(("AWS::S3::Bucket", "AWS::SQS::Queue")))
            if name not in covered
        ]


def denies_without_tls(statement):
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    return statement["Effect"] == "Deny" and statement["Principal"] == "*" and statement.get("Condition") == condition
