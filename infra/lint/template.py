"""Rules for infra/template.yaml beside those of cfn-lint, so that a new resource cannot be forgotten."""

import json
from pathlib import Path

from cfnlint.rules import CloudFormationLintRule, RuleMatch

DATA = ("AWS::S3::Bucket", "AWS::DynamoDB::Table")
# Connections last two hours.
TRANSIENT = ("ConnectionsTable",)
RETAINING = ("Retain", "RetainExceptOnCreate")
RUNBOOK = Path(__file__).parents[2] / "docs" / "operations.md"


def dead_letter_queues(cfn):
    return {name for name in cfn.get_resources("AWS::SQS::Queue") if name.endswith("DeadLetterQueue")}


class Retained(CloudFormationLintRule):
    id = "E9101"
    shortdesc = "Data outlives the stack"
    description = "A bucket, a table, a dead-letter queue or the tokens would be deleted with the stack."
    tags = ["landfall"]

    def match(self, cfn):
        kept = {*cfn.get_resources(DATA), *dead_letter_queues(cfn), "TokensSecret", "SourcesSecret"} - {*TRANSIENT}
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


class Watched(CloudFormationLintRule):
    id = "E9103"
    shortdesc = "Alarms are complete, and described in the runbook"
    description = "A dead-letter queue or a function has no alarm, or an alarm no section in docs/operations.md."
    tags = ["landfall"]

    def match(self, cfn):
        alarms = cfn.get_resources("AWS::CloudWatch::Alarm")
        needed = [(queue, "ApproximateNumberOfMessagesVisible") for queue in dead_letter_queues(cfn)]
        for function in cfn.get_resources("AWS::Lambda::Function"):
            needed += [(function, "Errors"), (function, "Throttles")]
        unwatched = [
            RuleMatch(["Resources", name], f"{name} needs an alarm on {metric}")
            for name, metric in sorted(needed)
            if not any(watches(alarm, metric, name) for alarm in alarms.values())
        ]
        undocumented = {name for name in alarms if f"### {name}\n" not in RUNBOOK.read_text()}
        return unwatched + [
            RuleMatch(["Resources", name], f"{name} needs a section in {RUNBOOK.name}") for name in sorted(undocumented)
        ]


def watches(alarm, metric, resource):
    text = json.dumps(alarm["Properties"])
    return f'"MetricName": "{metric}"' in text and f'"{resource}"' in text


class Encrypted(CloudFormationLintRule):
    id = "E9104"
    shortdesc = "The KMS key applies to all data"
    description = "A bucket, a queue, a table or a role does not use the parameter KmsKeyArn."
    tags = ["landfall"]

    def match(self, cfn):
        resources = cfn.get_resources((*DATA, "AWS::SQS::Queue", "AWS::IAM::Role"))
        return [
            RuleMatch(["Resources", name], f"{name} needs KmsKeyArn")
            for name, resource in sorted(resources.items())
            if '"KmsKeyArn"' not in json.dumps(resource["Properties"])
        ]


class Bounded(CloudFormationLintRule):
    id = "E9105"
    shortdesc = "Numbers have bounds"
    description = "A parameter that is a number has no minimum or no maximum."
    tags = ["landfall"]

    def match(self, cfn):
        return [
            RuleMatch(["Parameters", name], f"{name} needs {bound}")
            for name, parameter in sorted(cfn.template["Parameters"].items())
            for bound in ("MinValue", "MaxValue")
            if parameter["Type"] == "Number" and bound not in parameter
        ]


class Traced(CloudFormationLintRule):
    id = "E9106"
    shortdesc = "Functions may write traces"
    description = "Lambda refuses a traced function whose role may not write to X-Ray."
    tags = ["landfall"]

    def match(self, cfn):
        return [
            RuleMatch(["Resources", name], f"{name} needs xray:PutTraceSegments and xray:PutTelemetryRecords")
            for name, role in sorted(cfn.get_resources("AWS::IAM::Role").items())
            if "lambda.amazonaws.com" in json.dumps(role["Properties"]["AssumeRolePolicyDocument"])
            and not {"xray:PutTraceSegments", "xray:PutTelemetryRecords"} <= actions(role)
        ]


def actions(role):
    found = set()
    for policy in role["Properties"].get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            allowed = statement.get("Action", [])
            found |= {allowed} if isinstance(allowed, str) else {*allowed}
    return found
