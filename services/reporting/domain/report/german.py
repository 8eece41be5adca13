"""German for the words of reports, by the English where they are written."""

from __future__ import annotations

from typing import Final

GERMAN: Final[dict[str, str]] = {
    "{count} more budgets are used less.": "{count} weitere Budgets sind weniger ausgeschöpft.",
    "Budgets": "Budgets",
    "Budget": "Budget",
    "Limit": "Grenze",
    "Spent": "Ausgegeben",
    "Used": "Ausgeschöpft",
    "Forecast": "Prognose",
    "Breach probability": "Wahrscheinlichkeit der Überschreitung",
    "Period ends": "Zeitraum endet",
    "{count} others": "{count} andere",
    "What is owed": "Was geschuldet ist",
    "Amounts to charge are rounded so that they add up to the rounded total.": (
        "Die Beträge sind so gerundet, dass sie die gerundete Summe ergeben."
    ),
    "What it is for": "Wofür",
    "Own cost": "Eigene Kosten",
    "Allocated": "Umgelegt",
    "Cost to bear": "Zu tragende Kosten",
    "Share": "Anteil",
    "To charge": "Zu verrechnen",
    "Total": "Summe",
    "(not set)": "(ohne Angabe)",
    "Share of the group": "Anteil an der Gruppe",
    "Expected in {days} days": "In {days} Tagen erwartet",
    "Bounds hold in four of five cases; those of groups do not add up.": (
        "Die Grenzen gelten in vier von fünf Fällen; jene der Gruppen lassen sich nicht addieren."
    ),
    "Earlier forecasts and what came": "Frühere Prognosen und was kam",
    "Expected": "Erwartet",
    "Lower bound": "Untere Grenze",
    "Upper bound": "Obere Grenze",
    "Days": "Tage",
    "Came": "Gekommen",
    "Off by": "Abweichung",
    "Inside its interval": "Im Intervall",
    "yes": "ja",
    "no": "nein",
    "new": "neu",
    "{share} of all": "{share} von allen",
    "Capacity is used by {used} and full in {days} days.": (
        "Die Kapazität ist zu {used} genutzt und in {days} Tagen ausgeschöpft."
    ),
    "Failed": "Fehlgeschlagen",
    "Utilization": "Auslastung",
    "Capacity is used by {used}; its end is not in sight.": (
        "Die Kapazität ist zu {used} genutzt; ihr Ende ist nicht absehbar."
    ),
    "Days until full": "Tage bis zur vollen Auslastung",
    "Efficiency": "Effizienz",
    "weighted mean of its parts": "gewichtetes Mittel der Teile",
    "Failed operations": "Fehlgeschlagene Vorgänge",
    "Cost of failures": "Kosten der Fehler",
    "{retries} retries": "{retries} Wiederholungen",
    "Parts of the efficiency": "Teile der Effizienz",
    "Failures by error": "Fehlschläge nach Fehler",
    "Busiest hours, in {unit}": "Stärkste Stunden, in {unit}",
    "Unusual cost": "Ungewöhnliche Kosten",
    "Part": "Teil",
    "What it says": "Was er sagt",
    "Score": "Wertung",
    "Weight": "Gewicht",
    "Error": "Fehler",
    "Billed cost": "Verrechnete Kosten",
    "Hour": "Stunde",
    "Quantity": "Menge",
    "Times the mean hour": "Vielfaches der mittleren Stunde",
    "Where": "Wo",
    "From": "Ab",
    "Observed": "Beobachtet",
    "Impact": "Auswirkung",
    "State": "Zustand",
    "Retries": "Wiederholungen",
    "Cost an hour": "Kosten je Stunde",
    "Cost a day": "Kosten je Tag",
    "Cost a week": "Kosten je Woche",
    "Cost a month": "Kosten je Monat",
    "Forecast of {days} days": "Prognose für {days} Tage",
    "Cost a day, and as it is expected to go on": (
        "Kosten je Tag, und wie sie voraussichtlich weitergehen"
    ),
    "80 %: {low} to {high}": "80 %: {low} bis {high}",
    (
        "The {days} days from {first} are expected to cost {expected}; in four of five "
        "cases between {low} and {high}."
    ): (
        "Die {days} Tage ab {first} kosten voraussichtlich {expected}; in vier von fünf "
        "Fällen zwischen {low} und {high}."
    ),
    "Backtest error": "Fehler im Rückvergleich",
    (
        "Model: {model}. In a backtest of {origins} past origins it was off by {error} "
        "(sMAPE of a day)."
    ): (
        "Modell: {model}. Im Rückvergleich über {origins} frühere Zeitpunkte wich es um "
        "{error} ab (sMAPE eines Tages)."
    ),
    "Best case": "Bester Fall",
    "Likely": "Wahrscheinlich",
    "Worst case": "Schlechtester Fall",
    "It is a plain baseline: {why}.": "Es ist eine einfache Fortschreibung: {why}.",
    "Scenarios": "Szenarien",
    "Scenario": "Szenario",
    "Assumptions": "Annahmen",
    "Cost": "Kosten",
    "Expected cost": "Erwartete Kosten",
    "{title} (saves {amount} a month)": "{title} (spart {amount} im Monat)",
    "Cost grows by more than {share} % in {days} days": (
        "Die Kosten steigen in {days} Tagen um mehr als {share} %"
    ),
    (
        "Share of {count} possible courses of the forecast above the same number of days "
        "before; the impact is the expected rise, else that of one course in ten."
    ): (
        "Anteil von {count} möglichen Verläufen der Prognose, die über ebenso vielen "
        "Tagen davor liegen; die Auswirkung ist der erwartete Anstieg, sonst jener in "
        "einem von zehn Verläufen."
    ),
    "Unusual cost goes on ({count} open)": "Ungewöhnliche Kosten halten an ({count} offen)",
    (
        "{lasting} of {count} anomalies lasted a day or more; the impact is the excess of"
        " a day of what is open, for {days} days."
    ): (
        "{lasting} von {count} Auffälligkeiten dauerten einen Tag oder länger; die "
        "Auswirkung ist der Mehrbetrag eines Tages der offenen, für {days} Tage."
    ),
    "{name} raises its prices; {share} % of all cost is there": (
        "{name} erhöht die Preise; {share} % aller Kosten liegen dort"
    ),
    (
        "In {rises} of {count} months a unit cost over 1 % more than in the month before;"
        " the impact is a rise by {share} % for {days} days."
    ): (
        "In {rises} von {count} Monaten kostete eine Einheit über 1 % mehr als im Monat "
        "davor; die Auswirkung ist ein Anstieg um {share} % für {days} Tage."
    ),
    "Usage without a price is not counted yet": "Verbrauch ohne Preis zählt noch nicht",
    "{count} events have no price; the impact takes the mean cost of the others.": (
        "{count} Ereignisse haben keinen Preis; die Auswirkung rechnet mit den mittleren "
        "Kosten der anderen."
    ),
    "Budget “{name}” is passed": "Budget «{name}» wird überschritten",
    (
        "Share of the forecast's courses that pass the limit of this period; the impact "
        "is the expected cost beyond it, else that of one course in ten."
    ): (
        "Anteil der Verläufe der Prognose, die die Grenze dieses Zeitraums überschreiten;"
        " die Auswirkung sind die erwarteten Kosten darüber, sonst jene in einem von zehn"
        " Verläufen."
    ),
    "Set budgets where the growth is, and review its drivers": (
        "Budgets setzen, wo es wächst, und die Treiber prüfen"
    ),
    "Find the cause, or mark it as expected": (
        "Die Ursache finden, oder als erwartet kennzeichnen"
    ),
    "Agree prices for a term, or keep a second source ready": (
        "Preise für eine Laufzeit vereinbaren, oder eine zweite Quelle bereithalten"
    ),
    "Add the missing prices; the usage is then rated again": (
        "Die fehlenden Preise ergänzen; der Verbrauch wird dann neu bewertet"
    ),
    "Let the budget refuse spend at its limit, or raise it now": (
        "Das Budget an der Grenze sperren lassen, oder es jetzt erhöhen"
    ),
    "Open savings a month": "Offene Ersparnis im Monat",
    "{count} open recommendations save {amount} a month together, overlaps counted once.": (
        "{count} offene Empfehlungen sparen zusammen {amount} im Monat, Überschneidungen "
        "einmal gezählt."
    ),
    "What to do first: saving a month by effort": "Was zuerst: Ersparnis im Monat nach Aufwand",
    "The optimizer has no open recommendation.": "Der Optimierer hat keine offene Empfehlung.",
    "Best recommendations": "Beste Empfehlungen",
    "Recommendation": "Empfehlung",
    "Effort": "Aufwand",
    "Risk": "Risiko",
    "Saves a month": "Spart im Monat",
    "At least": "Mindestens",
    "Confidence": "Sicherheit",
    "Department": "Abteilung",
    "Project": "Projekt",
    "Person": "Person",
    "Manager": "Vorgesetzte",
    "Resource type": "Art der Ressource",
    "Resource": "Ressource",
    "Service": "Dienst",
    "Service category": "Art des Dienstes",
    "Provider": "Anbieter",
    "Region": "Region",
    "Account": "Konto",
    "Charge category": "Art der Kosten",
    "Unit": "Einheit",
    "Tenant": "Mandant",
    "Cost was {cost}, {by} more than the {then} of the period before.": (
        "Die Kosten betrugen {cost}, {by} mehr als die {then} im Zeitraum davor."
    ),
    "Cost was {cost}, {by} less than the {then} of the period before.": (
        "Die Kosten betrugen {cost}, {by} weniger als die {then} im Zeitraum davor."
    ),
    "Cost was {cost}, as much as the {then} of the period before, within {by}.": (
        "Die Kosten betrugen {cost}, so viel wie die {then} im Zeitraum davor, auf {by} genau."
    ),
    "Cost by {dimension}": "Kosten nach {dimension}",
    "Cost before": "Kosten davor",
    "Cost was {cost}; there was none in the period before.": (
        "Die Kosten betrugen {cost}; im Zeitraum davor gab es keine."
    ),
    "Change of cost": "Änderung der Kosten",
    "Most of the rise is {name} with {amount}. ": "Am stärksten stieg {name} mit {amount}. ",
    "The largest fall is {name} with {amount}.": "Am stärksten sank {name} mit {amount}.",
    "What moved most": "Was sich am meisten änderte",
    "Difference": "Differenz",
    "Before": "Davor",
    "Change": "Änderung",
    "Now": "Jetzt",
    "Part of all change": "Anteil an der Änderung",
    "{count} smaller ones are left out.": "{count} kleinere sind weggelassen.",
    "Cost of a unit": "Kosten einer Einheit",
    "Cost of an operation": "Kosten eines Vorgangs",
    "Cost of an active person": "Kosten einer aktiven Person",
    "A person is active who caused usage in the period.": (
        "Aktiv ist, wer im Zeitraum Verbrauch verursachte."
    ),
    "Month by month": "Monat für Monat",
    "Operations": "Vorgänge",
    "Cost of one": "Kosten eines",
    "Cost of a success": "Kosten eines Erfolgs",
    "People": "Personen",
    "Month": "Monat",
    "From the cost before to the cost now": "Von den Kosten davor zu den Kosten jetzt",
    "Cost went from {then} to {now}, by {difference}.": (
        "Die Kosten gingen von {then} auf {now}, um {difference}."
    ),
    "Volume did {volume}, rates did {rate}, mix did {mix}; together exactly the difference.": (
        "Die Menge machte {volume}, die Preise {rate}, die Zusammensetzung {mix}; "
        "zusammen genau die Differenz."
    ),
    (
        "Volume is what all groups would cost more had each grown as its unit did as a "
        "whole; mix is that groups grew otherwise than the whole, new ones among them; "
        "rate is that a unit of the same group costs otherwise than before."
    ): (
        "Menge ist, was alle Gruppen mehr kosteten, wäre jede gewachsen wie ihre Einheit "
        "im Ganzen; Zusammensetzung, dass Gruppen anders wuchsen als das Ganze, auch "
        "neue; Preis, dass eine Einheit derselben Gruppe anders kostet als davor."
    ),
    "Volume": "Menge",
    "Rate": "Preis",
    "Mix": "Zusammensetzung",
    "Effects by {dimension}": "Wirkungen nach {dimension}",
    "What a unit cost": "Was eine Einheit kostete",
    "Rate effect": "Wirkung des Preises",
    "Borne by nobody": "Von niemandem getragen",
    "Details": "Einzelheiten",
    (
        "Own cost is what a group caused. Allocation rules move shared cost to those who "
        "use it; nothing is lost or added, so both columns have one sum."
    ): (
        "Eigene Kosten sind, was eine Gruppe verursachte. Umlageregeln verschieben "
        "gemeinsame Kosten zu jenen, die sie nutzen; nichts geht verloren oder kommt "
        "hinzu, darum haben beide Spalten dieselbe Summe."
    ),
    "Chargeback": "Verrechnung",
    "{part} of all cost": "{part} aller Kosten",
    "Where the money goes": "Wohin das Geld geht",
    "of {count} active": "von {count} aktiven",
    "{count} recommendations": "{count} Empfehlungen",
    "Summary": "Überblick",
    "{change} against the period before": "{change} gegenüber dem Zeitraum davor",
    "Budgets at risk": "Gefährdete Budgets",
    "What is expected": "Was erwartet wird",
    "By group": "Nach Gruppe",
    "How good earlier forecasts were": "Wie gut frühere Prognosen waren",
    "There is no history to forecast from.": (
        "Es gibt keinen Verlauf, aus dem sich etwas prognostizieren lässt."
    ),
    "No forecast of {days} days is over yet.": (
        "Noch keine Prognose über {days} Tage ist abgelaufen."
    ),
    "Executive report": "Bericht für die Leitung",
    "Operational report": "Betriebsbericht",
    "Forecast report": "Prognosebericht",
    "Chargeback report": "Verrechnungsbericht",
    "Variance report": "Abweichungsbericht",
    "Unit economics": "Kosten je Einheit",
    "When it happens": "Wann es geschieht",
    "Mean cost by hour and weekday": "Mittlere Kosten nach Stunde und Wochentag",
    "Costliest resources": "Teuerste Ressourcen",
    "There was no usage.": "Es gab keinen Verbrauch.",
    "Nothing unusual was found.": "Nichts Ungewöhnliches wurde gefunden.",
    "Savings": "Ersparnis",
    "Outlook": "Ausblick",
    "Recommendations that mitigate are not named: no optimizer is connected.": (
        "Mildernde Empfehlungen sind nicht genannt: kein Optimierer ist verbunden."
    ),
    "{unpriced} of them have no price yet and cost nothing here.": (
        "{unpriced} davon haben noch keinen Preis und kosten hier nichts."
    ),
    "Changes of cost are counted up to position {place} of the feed.": (
        "Änderungen der Kosten sind bis zur Stelle {place} gezählt."
    ),
    "No budget service is connected, so nothing is said about budgets.": (
        "Kein Budgetdienst ist verbunden, darum ist nichts über Budgets gesagt."
    ),
    "Budgets as they stood when this report was made.": (
        "Budgets, wie sie standen, als dieser Bericht entstand."
    ),
    "No optimizer is connected, so nothing is said about savings.": (
        "Kein Optimierer ist verbunden, darum ist nichts über Ersparnis gesagt."
    ),
    "Risks": "Risiken",
    "Every number links to the query that gives it again. {events} events are counted.": (
        "Jede Zahl führt zur Abfrage, die sie wieder ergibt. {events} Ereignisse sind gezählt."
    ),
    "Costs are billed costs in {code}.": "Kosten sind verrechnete Kosten in {code}.",
    "About these numbers": "Zu diesen Zahlen",
    "They are those of the whole tenant, whatever the filter.": (
        "Es sind jene des ganzen Mandanten, unabhängig vom Filter."
    ),
    "The figures show no risk.": "Die Zahlen zeigen kein Risiko.",
    "Budgets are not looked at: no budget service is connected.": (
        "Budgets sind nicht betrachtet: kein Budgetdienst ist verbunden."
    ),
    "Events without a price": "Ereignisse ohne Preis",
    "Only usage that matches this filter: {filter}": (
        "Nur Verbrauch, auf den dieser Filter passt: {filter}"
    ),
    "Exchange rates of the ECB, of each day of usage; the last of each": (
        "Wechselkurse der EZB, je Tag des Verbrauchs; der letzte von jedem"
    ),
    "There is no active budget.": "Es gibt kein aktives Budget.",
    "Currency": "Währung",
    "Day": "Tag",
    "Events": "Ereignisse",
    "Figure": "Zahl",
    "Value": "Wert",
    "Probability": "Wahrscheinlichkeit",
    "Basis": "Grundlage",
    "Mitigation": "Milderung",
    "Key figures": "Kennzahlen",
    "Trend": "Verlauf",
    "{count} succeeded": "{count} gelungen",
    "{count} active": "{count} aktiv",
    "Units and operations": "Einheiten und Vorgänge",
    "Cost of a person": "Kosten einer Person",
    "Why cost changed": "Warum sich die Kosten änderten",
    "Where it changed": "Wo es sich änderte",
    "Figures": "Zahlen",
    "{days} days from {first} on": "{days} Tage ab {first}",
    "Asked for by": "Erstellt für",
    "On": "Am",
    "Only": "Nur",
    "The report could not be made: {why}": "Der Bericht konnte nicht erstellt werden: {why}",
    "The files are too large for a mail. These links open them until {until}:": (
        "Die Dateien sind zu gross für eine Mail. Diese Links öffnen sie bis {until}:"
    ),
    "low": "gering",
    "medium": "mittel",
    "high": "hoch",
    "open": "offen",
    "closed": "beendet",
    "expected": "erwartet",
    "success": "Erfolg",
    "retries": "Wiederholungen",
    "utilization": "Auslastung",
    "smoothness": "Gleichmässigkeit",
    "Page": "Seite",
}
