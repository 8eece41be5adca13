"""The country of a cloud region, as the providers publish where their regions are.

Sources: docs.aws.amazon.com/global-infrastructure, learn.microsoft.com/azure/reliability/
regions-list, cloud.google.com/compute/docs/regions-zones, docs.oracle.com/iaas regions.
"""

from __future__ import annotations

from typing import Final

# Country to its regions: AWS, Azure, Google Cloud, Oracle.
_REGIONS: Final = {
    "AE": "me-central-1 uaenorth uaecentral me-dubai-1 me-abudhabi-1",
    "AT": "austriaeast",
    "AU": (
        "ap-southeast-2 ap-southeast-4 australiaeast australiasoutheast australiacentral "
        "australiacentral2 australia-southeast1 australia-southeast2 ap-sydney-1 ap-melbourne-1"
    ),
    "BE": "belgiumcentral europe-west1",
    "BH": "me-south-1",
    "BR": ("sa-east-1 brazilsouth brazilsoutheast southamerica-east1 sa-saopaulo-1 sa-vinhedo-1"),
    "CA": (
        "ca-central-1 ca-west-1 canadacentral canadaeast northamerica-northeast1 "
        "northamerica-northeast2 ca-toronto-1 ca-montreal-1"
    ),
    "CH": "eu-central-2 switzerlandnorth switzerlandwest europe-west6 eu-zurich-1",
    "CL": "chilecentral southamerica-west1 sa-santiago-1 sa-valparaiso-1",
    "CN": "cn-north-1 cn-northwest-1 chinaeast chinaeast2 chinaeast3 chinanorth chinanorth2 "
    "chinanorth3",
    "CO": "sa-bogota-1",
    "DE": (
        "eu-central-1 eusc-de-east-1 germanywestcentral germanynorth europe-west3 europe-west10 "
        "eu-frankfurt-1"
    ),
    "DK": "denmarkeast",
    "ES": "eu-south-2 spaincentral europe-southwest1 eu-madrid-1",
    "FI": "europe-north1",
    "FR": ("eu-west-3 francecentral francesouth europe-west9 eu-paris-1 eu-marseille-1"),
    "GB": ("eu-west-2 uksouth ukwest europe-west2 uk-london-1 uk-cardiff-1"),
    "HK": "ap-east-1 eastasia asia-east2",
    "ID": "ap-southeast-3 indonesiacentral asia-southeast2 ap-batam-1",
    "IE": "eu-west-1 northeurope",
    "IL": "il-central-1 israelcentral me-west1 il-jerusalem-1",
    "IN": (
        "ap-south-1 ap-south-2 centralindia southindia westindia jioindiawest jioindiacentral "
        "asia-south1 asia-south2 ap-mumbai-1 ap-hyderabad-1"
    ),
    "IT": "eu-south-1 italynorth europe-west8 europe-west12 eu-milan-1 eu-turin-1",
    "JP": (
        "ap-northeast-1 ap-northeast-3 japaneast japanwest asia-northeast1 asia-northeast2 "
        "ap-tokyo-1 ap-osaka-1"
    ),
    "KR": ("ap-northeast-2 koreacentral koreasouth asia-northeast3 ap-seoul-1 ap-chuncheon-1"),
    "MX": "mx-central-1 mexicocentral northamerica-south1 mx-queretaro-1 mx-monterrey-1",
    "MY": "ap-southeast-5 malaysiawest",
    "NL": "westeurope europe-west4 eu-amsterdam-1",
    "NO": "norwayeast norwaywest",
    "NZ": "ap-southeast-6 newzealandnorth",
    "PL": "polandcentral europe-central2",
    "QA": "qatarcentral me-central1",
    "RS": "eu-jovanovac-1",
    "SA": "me-central2 me-jeddah-1 me-riyadh-1",
    "SE": "eu-north-1 swedencentral swedensouth europe-north2 eu-stockholm-1",
    "SG": ("ap-southeast-1 southeastasia asia-southeast1 ap-singapore-1 ap-singapore-2"),
    "TH": "ap-southeast-7",
    "TW": "ap-east-2 asia-east1",
    "US": (
        "us-east-1 us-east-2 us-west-1 us-west-2 us-gov-east-1 us-gov-west-1 eastus eastus2 "
        "centralus northcentralus southcentralus westcentralus westus westus2 westus3 us-central1 "
        "us-east1 us-east4 us-east5 us-south1 us-west1 us-west2 us-west3 us-west4 us-ashburn-1 "
        "us-phoenix-1 us-sanjose-1 us-chicago-1"
    ),
    "ZA": "af-south-1 southafricanorth southafricawest africa-south1 af-johannesburg-1",
}
_COUNTRY: Final = {
    region: country for country, regions in _REGIONS.items() for region in regions.split()
}


def country_of(region: str) -> str:
    """Returns the country's code, ISO 3166-1 alpha-2; empty when unknown."""
    return _COUNTRY.get(region.lower().replace(" ", ""), "")
