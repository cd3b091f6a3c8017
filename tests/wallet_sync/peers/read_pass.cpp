// What KPkPass, KDE's reader of Apple's passes, finds in a pass: `read_pass LANGUAGE FILE` prints it as JSON.
#include <KPkPass/Barcode>
#include <KPkPass/Field>
#include <KPkPass/Pass>

#include <QColor>
#include <QDateTime>
#include <QImage>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QLocale>
#include <QUrl>
#include <QVariant>

#include <cstdio>
#include <memory>

static QJsonArray told(const QVector<KPkPass::Field> &fields)
{
    QJsonArray all;
    for (const auto &field : fields) {
        all.append(QJsonArray{field.key(), field.label(), field.valueDisplayString(), field.changeMessage()});
    }
    return all;
}

static QJsonArray told(const QVector<KPkPass::Barcode> &codes)
{
    QJsonArray all;
    for (const auto &code : codes) {
        const auto format = QVariant::fromValue(code.format()).toString();
        all.append(QJsonArray{format, code.message(), code.alternativeText(), code.messageEncoding()});
    }
    return all;
}

static QJsonArray told(const QImage &image)
{
    return {image.width(), image.height()};
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    QLocale::setDefault(QLocale(QString::fromUtf8(argv[1])));
    const std::unique_ptr<KPkPass::Pass> pass(KPkPass::Pass::fromFile(QString::fromUtf8(argv[2])));
    if (!pass) {
        return 1;
    }
    const QJsonObject all{
        {"type", QVariant::fromValue(pass->type()).toString()},
        {"passType", pass->passTypeIdentifier()},
        {"serial", pass->serialNumber()},
        {"organization", pass->organizationName()},
        {"title", pass->logoText()},
        {"header", told(pass->headerFields())},
        {"primary", told(pass->primaryFields())},
        {"secondary", told(pass->secondaryFields())},
        {"auxiliary", told(pass->auxiliaryFields())},
        {"back", told(pass->backFields())},
        {"codes", told(pass->barcodes())},
        {"expires", pass->expirationDate().toString(Qt::ISODate)},
        {"background", pass->backgroundColor().name()},
        {"updates", QJsonArray{pass->passUpdateUrl().toString(), pass->authenticationToken()}},
        {"icon", told(pass->icon(2))},
        {"logo", told(pass->logo(2))},
        {"strip", told(pass->strip(2))},
    };
    puts(QJsonDocument(all).toJson().constData());
}
