<%-- Customers of the ERP, read-only: all that are active, searched by code or by a part of the name. --%>
<%@ page contentType="text/html; charset=UTF-8" session="false" trimDirectiveWhitespaces="true"
         import="java.sql.*, javax.naming.InitialContext, javax.sql.DataSource" %>
<%!
    private static final String MATCHES =
        " FROM party_party WHERE active AND (code = ? OR position(? IN coalesce(name, '')) > 0)";

    private static String escape(String text) {
        return text == null ? "" : text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            .replace("\"", "&quot;").replace("'", "&#39;");
    }

    private static PreparedStatement statement(Connection connection, String sql, String search) throws SQLException {
        PreparedStatement statement = connection.prepareStatement(sql);
        statement.setString(1, search);
        statement.setString(2, search);
        return statement;
    }
%>
<%
    request.setCharacterEncoding("UTF-8");
    String search = request.getParameter("q") == null ? "" : request.getParameter("q").strip();
    String company = System.getenv().getOrDefault("PORTAL_TITLE", "");
%>
<!DOCTYPE html>
<html lang="zh-CN">
<head>
  <meta charset="UTF-8">
  <title><%= escape(company) %> · 客户门户</title>
  <style>
    body { font: 16px/1.5 sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
    table { border-collapse: collapse; width: 100%; }
    td, th { text-align: left; padding: .3rem .5rem; border-bottom: 1px solid #ddd; }
  </style>
</head>
<body>
  <h1><%= escape(company) %></h1>
  <form><input name="q" value="<%= escape(search) %>" aria-label="编码或名称"> <button>查找</button></form>
<%
    DataSource source = (DataSource) new InitialContext().lookup("java:comp/env/jdbc/erp");
    try (Connection connection = source.getConnection();
         PreparedStatement count = statement(connection, "SELECT count(*)" + MATCHES, search);
         PreparedStatement rows = statement(connection, "SELECT code, name" + MATCHES + " ORDER BY code LIMIT 50", search)) {
        try (ResultSet total = count.executeQuery()) {
            total.next();
            out.print("<p>往来单位: " + total.getLong(1) + "</p>");
        }
        out.print("<table><tr><th>编码</th><th>名称</th></tr>");
        try (ResultSet found = rows.executeQuery()) {
            while (found.next()) {
                out.print("<tr><td>" + escape(found.getString(1)) + "</td><td>" + escape(found.getString(2)) + "</td></tr>");
            }
        }
        out.print("</table>");
    }
%>
</body>
</html>
